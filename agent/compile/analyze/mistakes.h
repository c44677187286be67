#pragma once

#include "agent/compile/analyze/finding.h"
#include "ztunnel/base/result.h"

#include <optional>
#include <string>

namespace weft::analyze {

// What an error of reading manifests is about. It names an object ("Kind/ns/name: field: what was
// expected") where the text was good enough for that, and otherwise a file.
struct Mistake {
  Rule rule;
  std::string origin;
  std::string message;
  std::optional<objects::Key> object;
};
Mistake understand(const Error& error);

}  // namespace weft::analyze
