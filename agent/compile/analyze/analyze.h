#pragma once

#include "agent/compile/analyze/finding.h"
#include "agent/compile/compiler.h"
#include "ztunnel/base/result.h"

#include <memory>
#include <vector>

namespace weft::analyze {

// A set of manifests, as far as it could be read.
struct Input {
  std::vector<std::shared_ptr<const objects::Object>> objects;
  std::vector<Error> mistakes;  // of objects::parse_manifests, and of reading files
  compile::MeshConfig config;
};

// What somebody who wrote these manifests should know before they are in force: mistakes, what has
// no effect, what is not what it looks like. Pure; the worst first.
std::vector<Finding> analyze(const Input& input);

// Every rule, in the order of its code; for documentation and tests.
const std::vector<Rule>& rules();

}  // namespace weft::analyze
