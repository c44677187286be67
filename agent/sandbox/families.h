#pragma once

#include "proto/crd/core.pb.h"
#include "ztunnel/base/result.h"

#include <string>
#include <string_view>
#include <vector>

namespace weft::sandbox {

// Which addresses the pods and Services of a sandbox have. Where both, IPv4 is the first, as in a
// cluster whose ranges are written in that order. Nodes, control and ztunnels always have IPv4.
struct Families {
  bool v4 = true;
  bool v6 = false;

  bool has(bool of_v6) const { return of_v6 ? v6 : v4; }
  bool operator==(const Families&) const = default;
};

// "dual", "ipv4", "ipv6"; kInvalid.
Result<Families> parse_families(std::string_view text);
std::string to_string(const Families& families);
// Both, where this machine's kernel has both.
Families default_families();

bool is_v6(std::string_view address);
// The pod's address of the family; empty where it has none (yet).
std::string address_of(const crd::core::Pod& pod, bool v6);
// All that the Service is reached by; none where it is headless.
std::vector<std::string> cluster_ips(const crd::core::Service& service);
// Whether the Service has endpoints of the family; one that does not say has both.
bool serves_family(const crd::core::Service& service, bool v6);

}  // namespace weft::sandbox
