#pragma once

#include "agent/compile/waypoint_parts.h"
#include "agent/sandbox/families.h"
#include "agent/sandbox/layout.h"
#include "agent/sandbox/store.h"

#include <vector>

namespace weft::sandbox {

// What a cluster's controller of Gateways does for waypoints: which objects are to be written, and
// which are left over of a Gateway that is gone. Pure. What somebody else has made under the same
// name is not touched.
struct GatewayPlan {
  std::vector<ObjectPtr> put;
  std::vector<objects::Key> remove;
};
GatewayPlan plan_gateways(const std::vector<ObjectPtr>& present,
                          const compile::WaypointProgram& program, const Families& families);

// How weft-ztunnel runs as a waypoint here: the binary beside this one. kNotFound: it is not there.
Result<compile::WaypointProgram> waypoint_program();

// Whether a pod is given what proves who it is, as a cluster mounts it: its token, and the mesh's
// roots.
bool wants_secrets(const crd::core::Pod& pod);
// Writes both, anew where they have changed, into the folder that the pod sees at kSecretsInPod.
constexpr const char* kSecretsInPod = "/run/weft/pod";
Result<void> write_secrets(const Layout& layout, const crd::core::Pod& pod);
// The roots alone, as control writes them.
Result<void> refresh_roots(const Layout& layout, const crd::core::Pod& pod);

}  // namespace weft::sandbox
