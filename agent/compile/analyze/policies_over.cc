#include "agent/compile/analyze/policies_over.h"

#include "agent/compile/authorization_policy.h"
#include "agent/compile/peer_authentication.h"

#include <algorithm>
#include <set>
#include <string>

namespace weft::analyze {

std::vector<model::Policy> policies_over(const Cluster& cluster, const Shape& shape) {
  const auto& config = cluster.config();
  const auto& store = cluster.store();
  const std::string& ns = shape.origin.ns;
  const auto& labels = shape.pod.metadata().labels();
  std::vector<model::Policy> all;
  for (const std::string& from : std::set<std::string>{ns, config.root_namespace}) {
    for (const auto& [name, object] : store.policies.in(from)) {
      auto policy = compile::compile_policy(*object, config).policy;
      const bool selected = policy && policy->scope == model::Policy::Scope::kSelected;
      if (!policy || (selected && !compile::applies_to(*object, ns, labels, config))) continue;
      all.push_back(std::move(*policy));
    }
  }
  for (const std::string& key : compile::peer_policies_of(ns, labels, store, config)) {
    const std::string prefix = ns + "/" + compile::kConvertedPrefix;
    const auto* object =
        key.starts_with(prefix) ? store.peers.find(ns, key.substr(prefix.size())) : nullptr;
    if (object == nullptr) {
      all.push_back(compile::static_strict(config));
    } else if (auto policy = compile::compile_peer_authentication(*object, store, config)) {
      all.push_back(std::move(*policy));
    }
  }
  std::ranges::sort(all, {}, [](const model::Policy& policy) {
    return std::pair(policy.action == model::Policy::Action::kDeny ? 0 : 1, policy.key());
  });
  return all;
}

}  // namespace weft::analyze
