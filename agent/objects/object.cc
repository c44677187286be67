#include "agent/objects/object.h"

#include "agent/objects/kinds.h"
#include "agent/objects/reader.h"
#include "proto/crd/opaque.pb.h"
#include "ztunnel/base/check.h"

#include <google/protobuf/descriptor.h>

namespace weft::objects {

namespace {

const crd::core::ObjectMeta& metadata_of(const google::protobuf::Message& message) {
  const auto* field = message.GetDescriptor()->FindFieldByName("metadata");
  CHECK(field != nullptr && field->message_type() == crd::core::ObjectMeta::descriptor());
  return static_cast<const crd::core::ObjectMeta&>(
      message.GetReflection()->GetMessage(message, field));
}

Tree to_tree(const Object& object) {
  Tree tree = Tree::map();
  tree.add("apiVersion", Tree::of(object.api_version()));
  tree.add("kind", Tree::of(object.kind()));
  const Tree fields = write_message(object.message());
  for (const Tree::Member& member : fields.members) {
    if (object.as<crd::opaque::Opaque>() != nullptr && member.name == "rest") {
      for (const Tree::Member& other : member.value.members) tree.members.push_back(other);
    } else {
      tree.members.push_back(member);
    }
  }
  return tree;
}

}  // namespace

std::string Key::to_string() const {
  return ns.empty() ? kind + "/" + name : kind + "/" + ns + "/" + name;
}

Object::Object(std::string api_version, std::string kind,
               std::shared_ptr<const google::protobuf::Message> message)
    : api_version_(std::move(api_version)),
      kind_(std::move(kind)),
      message_(std::move(message)),
      metadata_(&metadata_of(*message_)) {}

Key Object::key() const {
  const auto known = find_kind(api_version_, kind_);
  return {known ? std::string((*known)->key_name) : kind_, metadata_->namespace_(),
          metadata_->name()};
}

std::string to_json(const Object& object) { return write_json(to_tree(object)); }

std::string to_yaml(const Object& object) { return write_yaml(to_tree(object)); }

}  // namespace weft::objects
