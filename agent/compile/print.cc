#include "agent/compile/print.h"

#include "agent/compile/wire.h"
#include "agent/objects/tree.h"
#include "proto/authorization.pb.h"
#include "proto/workload.pb.h"

#include <google/protobuf/util/json_util.h>

namespace weft::compile {

namespace {

template <class Message>
Result<objects::Tree> read_back(const Resource& resource) {
  Message message;
  std::string json;
  if (!message.ParseFromString(resource.bytes) ||
      !google::protobuf::util::MessageToJsonString(message, &json).ok()) {
    return fail(Code::kInternal, resource.name + ": cannot be written as JSON");
  }
  return objects::parse_json(json);
}

Result<objects::Tree> to_tree(const Resource& resource) {
  objects::Tree body =
      TRY(resource.type == kAddressType ? read_back<istio::workload::Address>(resource)
                                        : read_back<istio::security::Authorization>(resource));
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
