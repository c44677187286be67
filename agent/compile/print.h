#pragma once

#include "agent/compile/compiler.h"
#include "ztunnel/base/result.h"

#include <string>

namespace weft::compile {

// A resource for people and scripts: {"type": .., "name": .., "resource": {protobuf's JSON}}, as
// one line of JSON, or as one YAML document.
Result<std::string> to_json_line(const Resource& resource);
Result<std::string> to_yaml_document(const Resource& resource);  // begins with "---"

}  // namespace weft::compile
