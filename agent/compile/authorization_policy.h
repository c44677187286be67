#pragma once

#include "agent/compile/compiler.h"
#include "agent/compile/store.h"
#include "agent/model/policy.h"

#include <optional>
#include <string>
#include <vector>

namespace weft::compile {

struct CompiledPolicy {
  std::optional<model::Policy> policy;  // none: nothing for node proxies
  std::vector<std::string> notices;
  // What a node proxy cannot honour, in Istio's words; empty: it honours all of it.
  std::string unsupported;
};

// AuthorizationPolicy, for node proxies, which see connections and no requests. Structure and order
// are istiod's; where istiod would let through what a policy means to stop, this does not:
// - ALLOW: a rule with a condition on requests is left out, so less is allowed.
// - DENY: the conditions on requests are left out, so more is denied, down to a rule without
//   conditions. (istiod leaves an empty match there, which never matches.)
// - CUSTOM: nobody can be asked, so what the rules match is denied, in the same way.
// - AUDIT decides nothing and is not sent. With targetRefs it is for a waypoint and not sent.
CompiledPolicy compile_policy(const crd::security::AuthorizationPolicy& object,
                              const MeshConfig& config);

// Whether workloads have to name the policy for it to apply to them; and whether it selects one.
bool is_by_selector(const crd::security::AuthorizationPolicy& object);
bool applies_to(const crd::security::AuthorizationPolicy& object, const std::string& ns,
                const Labels& labels, const MeshConfig& config);
// The keys of the policies by selector for a workload with these labels.
std::vector<std::string> selected_policies_of(const std::string& ns, const Labels& labels,
                                              const Store& store, const MeshConfig& config);

}  // namespace weft::compile
