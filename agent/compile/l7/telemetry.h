#pragma once

#include "agent/compile/l7/backend.h"
#include "agent/compile/waypoint_binding.h"
#include "proto/telemetry.pb.h"

#include <map>
#include <set>
#include <string>

namespace weft::l7 {

constexpr const char* kTelemetryType = "weft.telemetry.Telemetry";

// What a waypoint reports of the requests of one of its services, or, without one, of those of all
// that have nothing of their own. In force are, deeper ones over others: the Telemetry of the root
// namespace, of the waypoint's, of the service's, those that name the waypoint's Gateway, and those
// that name the service. One with a selector is for pods, and none of these.
weft::telemetry::Telemetry compile_telemetry(const compile::WaypointName& waypoint,
                                             const Backend* service, const compile::Store& store,
                                             const compile::MeshConfig& config);

// All of that, kept up to date. Only what a waypoint would not do by itself is sent: metrics and
// nothing else for a waypoint, what its others do for a service. Belongs to one thread.
class WaypointTelemetry {
 public:
  // A Telemetry, or the mesh's configuration, is not what it was.
  void touch() { is_dirty_ = true; }
  // A service, or which waypoint it has, is not what it was; also of one that is gone.
  void touch(const Name& service) { services_.insert(service); }

  struct Changes {
    std::vector<compile::Resource> set;
    std::vector<compile::Resource> removed;
  };
  Changes compile(const compile::Store& store, const compile::MeshConfig& config);
  const std::map<std::string, compile::Resource>& resources() const { return resources_; }

 private:
  void bind(const Name& name, const compile::Store& store, const compile::MeshConfig& config);
  bool has_any(const compile::Store& store, const compile::MeshConfig& config) const;

  bool is_dirty_ = true;
  std::set<Name> services_;                          // to be looked at
  std::map<Name, compile::WaypointName> waypoints_;  // of services that have one
  std::map<compile::WaypointName, size_t> counts_;   // how many services each has
  std::map<std::string, compile::Resource> resources_;
};

}  // namespace weft::l7
