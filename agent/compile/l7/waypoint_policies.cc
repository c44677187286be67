#include "agent/compile/l7/waypoint_policies.h"

#include "agent/compile/l7/hosts.h"
#include "agent/compile/l7/traffic.h"
#include "agent/compile/wire.h"

#include <utility>

namespace weft::l7 {

std::string resource_name(const compile::WaypointName& waypoint, const Name& service) {
  return waypoint.to_string() + "/" + service.first + "/" + service.second;
}

void WaypointPolicies::use(const compile::WaypointName& waypoint, const std::set<Name>& services) {
  for (const Name& service : services) {
    if (users_[{waypoint, service}]++ == 0) dirty_.emplace(waypoint, service);
  }
}

void WaypointPolicies::release(const compile::WaypointName& waypoint,
                               const std::set<Name>& services) {
  for (const Name& service : services) {
    const auto found = users_.find({waypoint, service});
    if (found == users_.end() || --found->second > 0) continue;
    users_.erase(found);
    dirty_.emplace(waypoint, service);
  }
}

void WaypointPolicies::touch_hosts(const std::string& pattern) {
  for (const auto& [used, count] : users_) {
    if (host_matches(pattern, used.second.second)) dirty_.insert(used);
  }
}

void WaypointPolicies::touch_everything() {
  for (const auto& [used, count] : users_) dirty_.insert(used);
}

void WaypointPolicies::compile(const compile::Store& store, const compile::MeshConfig& config,
                               Changes& changes) {
  for (const Used& used : std::exchange(dirty_, {})) {
    const auto& [waypoint, name] = used;
    std::optional<weft::route::Policy> policy;
    const auto service = users_.contains(used) ? backend_of(name, store, config) : std::nullopt;
    if (service) {
      const auto rule = rule_for(name, {waypoint.ns, waypoint.name}, store, config);
      policy = compile_policy(*service, rule ? &*rule : nullptr, config);
    }
    const std::string key = resource_name(waypoint, name);
    const auto before = resources_.find(key);
    if (!policy) {
      if (before == resources_.end()) continue;
      changes.removed.push_back(compile::removal_of(before->second));
      resources_.erase(before);
      continue;
    }
    compile::Resource made = compile::to_resource(kPolicyType, key, *policy);
    if (before != resources_.end() && before->second.version == made.version) continue;
    resources_[key] = made;
    changes.set.push_back(std::move(made));
  }
}

}  // namespace weft::l7
