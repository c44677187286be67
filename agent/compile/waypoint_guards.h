#pragma once

#include "agent/compile/store.h"
#include "agent/compile/waypoint_binding.h"

#include <optional>
#include <string>

namespace weft::compile {

// Security objects that name targets (targetRefs) are for waypoints to enforce: AuthorizationPolicy
// and RequestAuthentication of the Service or ServiceEntry, of the waypoint's Gateway, or of its
// GatewayClass in the root namespace. Waypoints enforce none of them yet, so what they would have
// guarded is refused.

// Why everything for a service behind this waypoint is refused: one of these, or the waypoint's
// owner does not let its namespace in. Empty: nothing.
std::string refusal_of(const crd::core::Service& service, const WaypointName& waypoint,
                       const Store& store, const MeshConfig& config);
std::string refusal_of(const crd::networking::ServiceEntry& entry, const WaypointName& waypoint,
                       const Store& store, const MeshConfig& config);

// A workload's waypoint as ztunnels are told it. Requests to a workload's own address have no
// routes that could refuse them: where they are guarded, their waypoint gets a name that nothing
// has, by which ztunnels refuse them, and waypoints too.
std::optional<model::Waypoint> guarded_waypoint(const crd::core::Pod& pod, const Store& store,
                                                const MeshConfig& config);
std::optional<model::Waypoint> guarded_waypoint(const crd::networking::WorkloadEntry& entry,
                                                const Store& store, const MeshConfig& config);

// Whether the object is one of them.
bool is_waypoint_guard(const objects::Object& object);

}  // namespace weft::compile
