#pragma once

#include "agent/compile/compiler.h"

#include <string>
#include <vector>

namespace weft::compile {

// What of this object is accepted and not honoured.
std::vector<std::string> notices_about(const objects::Object& object, const MeshConfig& config);

}  // namespace weft::compile
