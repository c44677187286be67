#include "agent/xds/response.h"

#include "proto/xds.pb.h"
#include "ztunnel/base/check.h"

namespace weft::xds {

using envoy::service::discovery::v3::DeltaDiscoveryResponse;

// By one message of one resource, over and over: a whole mesh is never there twice.
std::string encode_resources(const std::string& type, const Snapshot::Resources& resources) {
  size_t bytes = 0;
  for (const auto& [name, entry] : resources) {
    bytes += name->size() + entry->bytes.size() + kResourceOverheadBytes;
  }
  std::string text;
  text.reserve(bytes);
  DeltaDiscoveryResponse one;
  auto& resource = *one.add_resources();
  resource.mutable_resource()->set_type_url(std::string(kTypeUrlPrefix) + type);
  for (const auto& [name, entry] : resources) {
    resource.set_name(*name);
    resource.set_version(*entry->version);
    resource.mutable_resource()->set_value(entry->bytes);
    CHECK(one.AppendToString(&text));
  }
  return text;
}

std::string encode(const Batch& batch) {
  DeltaDiscoveryResponse rest;
  rest.set_type_url(std::string(kTypeUrlPrefix) + batch.type);
  rest.set_nonce(batch.nonce);
  for (const auto& name : batch.removed) rest.add_removed_resources(*name);
  std::string text = encode_resources(batch.type, batch.resources);
  CHECK(rest.AppendToString(&text));
  return text;
}

}  // namespace weft::xds
