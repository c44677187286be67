#pragma once

#include "ztunnel/base/result.h"

#include <string>
#include <vector>

namespace weft::cli {

// Something of the kernel, or of what this process may do with it.
struct Feature {
  std::string name;
  bool needed = false;  // without it Weft does not work; otherwise it uses the next best way
  std::string without;  // what happens then
  // A word about it where it is there, or why it is not. Changes nothing that outlasts the call.
  Result<std::string> (*probe)() = nullptr;
};

// All that Weft needs or can use on a node, in the order in which it meets them.
std::vector<Feature> kernel_features();

}  // namespace weft::cli
