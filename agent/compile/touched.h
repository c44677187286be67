#pragma once

#include "agent/compile/compiler.h"
#include "agent/compile/store.h"

#include <set>
#include <string>
#include <utility>

namespace weft::compile {

// What has to be compiled again, by namespace and name.
struct Touched {
  using Names = std::set<std::pair<std::string, std::string>>;
  Names pods;
  Names services;
  Names policies;
  Names peers;

  // Adds what depends on the object: called with its old version and with its new one, so that what
  // it no longer concerns is compiled again as well. Pods that are not in the store come by their
  // own change.
  void add(const objects::Object& object, const Store& store, const MeshConfig& config);
};

}  // namespace weft::compile
