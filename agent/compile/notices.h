#pragma once

#include "agent/compile/compiler.h"
#include "agent/source/status.h"

#include <string>
#include <vector>

namespace weft::compile {

// What of this object is accepted and not honoured.
std::vector<std::string> notices_about(const objects::Object& object, const MeshConfig& config);

// The conditions of a policy's status, with the types and reasons that Istio writes:
// ZtunnelAccepted (False: UnsupportedValue, Invalid), WaypointAccepted for one with targetRefs.
// None: the kind has no status.
std::vector<source::Condition> conditions_of(const objects::Object& object,
                                             const MeshConfig& config);

}  // namespace weft::compile
