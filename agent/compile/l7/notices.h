#pragma once

#include "agent/compile/compiler.h"
#include "agent/compile/store.h"
#include "agent/objects/object.h"

#include <string>
#include <vector>

namespace weft::l7 {

// Whether the object says where requests go or how: the kinds that notices_about() knows.
bool is_l7(const objects::Object& object);

// What of such an object is accepted and has no effect, or another than it seems: for conditions,
// `weft compile` and `weft analyze`.
std::vector<std::string> notices_about(const objects::Object& object, const compile::Store& store,
                                       const compile::MeshConfig& config);

}  // namespace weft::l7
