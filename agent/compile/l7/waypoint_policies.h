#pragma once

#include "agent/compile/l7/destination_rules.h"

#include <map>
#include <set>
#include <string>
#include <vector>

namespace weft::l7 {

constexpr const char* kPolicyType = "weft.route.Policy";

// What changed on the wire.
struct Changes {
  std::vector<compile::Resource> set;
  std::vector<compile::Resource> removed;
};

std::string resource_name(const compile::WaypointName& waypoint, const Name& service);

// How each waypoint reaches the services that it sends requests to: those behind it, and those that
// their routes name. Kept up to date as WaypointRoutes are.
class WaypointPolicies {
 public:
  // A service behind the waypoint begins, or ends, to send requests to these.
  void use(const compile::WaypointName& waypoint, const std::set<Name>& services);
  void release(const compile::WaypointName& waypoint, const std::set<Name>& services);
  // A DestinationRule for this host, or hosts, was changed.
  void touch_hosts(const std::string& pattern);
  void touch_everything();

  void compile(const compile::Store& store, const compile::MeshConfig& config, Changes& changes);
  const std::map<std::string, compile::Resource>& resources() const { return resources_; }

 private:
  using Used = std::pair<compile::WaypointName, Name>;
  std::map<Used, size_t> users_;
  std::map<std::string, compile::Resource> resources_;  // by resource name
  std::set<Used> dirty_;
};

}  // namespace weft::l7
