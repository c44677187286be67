#pragma once

#include "agent/xds/store.h"

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace weft::xds {

constexpr std::string_view kTypeUrlPrefix = "type.googleapis.com/";

// One response in the making: what it holds is shared, nothing is copied.
struct Batch {
  std::string type;
  std::string nonce;
  std::shared_ptr<const Snapshot> all;  // what the first response to a wildcard holds, else null
  Snapshot::Resources resources;
  std::vector<Text> removed;

  size_t size() const { return (all ? all->resources().size() : 0) + resources.size(); }
};

// A DeltaDiscoveryResponse as serialized, in two parts, in any order: protobuf joins messages by
// joining their bytes. The first part is `batch.all->wire()`, if any, and is shared; this makes the
// second one.
std::string encode(const Batch& batch);
std::string encode_resources(const std::string& type, const Snapshot::Resources& resources);

}  // namespace weft::xds
