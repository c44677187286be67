#include "agent/compile/print.h"

#include "agent/compile/l7/telemetry.h"
#include "agent/compile/l7/waypoint_routes.h"
#include "agent/compile/wire.h"
#include "agent/objects/tree.h"
#include "proto/authorization.pb.h"
#include "proto/route.pb.h"
#include "proto/telemetry.pb.h"
#include "proto/workload.pb.h"

#include <google/protobuf/util/json_util.h>

#include <algorithm>

namespace weft::compile {

namespace {

template <class Message>
Result<objects::Tree> read_as(const Resource& resource) {
  Message message;
  std::string json;
  if (!message.ParseFromString(resource.bytes) ||
      !google::protobuf::util::MessageToJsonString(message, &json).ok()) {
    return fail(Code::kInternal, resource.name + ": cannot be written as JSON");
  }
  return objects::parse_json(json);
}

Result<objects::Tree> read_back(const Resource& resource) {
  if (resource.type == kAddressType) return read_as<istio::workload::Address>(resource);
  if (resource.type == l7::kTelemetryType) return read_as<weft::telemetry::Telemetry>(resource);
  if (resource.type == l7::kRoutesType) return read_as<weft::route::Routes>(resource);
  if (resource.type == l7::kPolicyType) return read_as<weft::route::Policy>(resource);
  return read_as<istio::security::Authorization>(resource);
}

// protobuf writes a map in the order of a hash that differs from run to run.
void sort_maps(objects::Tree& tree) {
  for (objects::Tree::Member& member : tree.members) {
    const bool is_map = member.name == "services" || member.name == "ports" || member.name == "to";
    if (is_map) {
      std::ranges::sort(member.value.members, {}, &objects::Tree::Member::name);
    }
    sort_maps(member.value);
  }
  for (objects::Tree& item : tree.items) sort_maps(item);
}

Result<objects::Tree> to_tree(const Resource& resource) {
  objects::Tree body = TRY(read_back(resource));
  sort_maps(body);
  objects::Tree tree = objects::Tree::map();
  tree.add("type", objects::Tree::of(resource.type));
  tree.add("name", objects::Tree::of(resource.name));
  tree.add("resource", std::move(body));
  return tree;
}

}  // namespace

Result<std::string> to_json_line(const Resource& resource) {
  return objects::write_json(TRY(to_tree(resource))) + "\n";
}

Result<std::string> to_yaml_document(const Resource& resource) {
  return "---\n" + objects::write_yaml(TRY(to_tree(resource)));
}

}  // namespace weft::compile
