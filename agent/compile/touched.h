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
  Names workload_entries;
  Names service_entries;  // their endpoints
  Names slices;           // EndpointSlices
  Names services;         // by namespace and host name: Services, and hosts of ServiceEntries
  Names policies;
  Names peers;
  bool vips = false;  // what claims an allocated address
  bool mesh = false;  // the mesh's configuration: everything

  // Adds what depends on the object: called with its old version and with its new one, so that what
  // it no longer concerns is compiled again as well. Pods that are not in the store come by their
  // own change.
  void add(const objects::Object& object, const Store& store, const MeshConfig& config);
  void add_everything(const Store& store, const MeshConfig& config);
};

}  // namespace weft::compile
