#pragma once

#include "proto/authorization.pb.h"
#include "ztunnel/base/ip.h"
#include "ztunnel/base/spiffe_id.h"

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace weft::policy {

// A connection as a policy sees it.
struct Connection {
  std::optional<SpiffeId> source;  // proven by a certificate; none: plain text
  IpAddress source_ip;
  SocketAddress destination;  // the real one, after HBONE: pod IP and application port
};

struct Verdict {
  bool allowed = false;
  // "ns/name" of the policy that decided: the DENY that matched, or the ALLOW that matched. Empty
  // where no policy applies (allowed) or none of the ALLOW policies matched (refused).
  std::string policy;
  // What the log says, in Istio's words: "explicitly denied by: ns/name", "allow policies exist,
  // but none allowed". Empty where allowed.
  std::string reason;
};

// An Authorization, checked and compiled; immutable and shared between threads.
class Policy;
// kInvalid names the resource, the field and what was expected (a prefix length of 40 for IPv4, a
// port over 65535, an unknown action or scope).
Result<std::shared_ptr<const Policy>> compile(const istio::security::Authorization& resource);

using PolicyList = std::vector<std::shared_ptr<const Policy>>;

// Policies indexed to be asked together; immutable and shared between threads.
class PolicySet;
std::shared_ptr<const PolicySet> make_set(PolicyList policies);

// The policies that apply to one workload: the mesh's, those of its namespace, and those it names.
// Null: there are none. They live as long as the State that they were taken from.
using PolicySets = std::array<const PolicySet*, 3>;

// Istio's order: a dry-run policy never decides; any DENY that matches refuses; no ALLOW at all
// allows; any ALLOW that matches allows; otherwise refused. Pure. Of several that match, any is
// named, of one set's the first in its list.
Verdict authorize(const PolicySets& sets, const Connection& connection);
// The same for policies that are asked once.
Verdict authorize(const PolicyList& policies, const Connection& connection);

const std::string& key_of(const Policy& policy);  // "ns/name"
istio::security::Scope scope_of(const Policy& policy);
const std::string& namespace_of(const Policy& policy);
// What in the resource only a newer version understands; empty: nothing. Such a DENY always
// matches, such an ALLOW never does.
const std::string& caveat_of(const Policy& policy);

}  // namespace weft::policy
