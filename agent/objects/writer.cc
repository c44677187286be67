#include "agent/objects/reader.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/struct.pb.h>

#include <algorithm>
#include <cmath>

namespace weft::objects {

namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

// Whole numbers that a double holds exactly are written without a point.
Tree of_number(double number) {
  constexpr double kExactMax = 9007199254740992.0;  // 2^53
  if (std::nearbyint(number) == number && std::abs(number) <= kExactMax) {
    return Tree::of(static_cast<int64_t>(number));
  }
  return Tree::of(number);
}

Tree of_value(const google::protobuf::Value& value);

Tree of_struct(const google::protobuf::Struct& fields) {
  Tree tree = Tree::map();
  for (const auto& [name, value] : fields.fields()) tree.add(name, of_value(value));
  std::sort(tree.members.begin(), tree.members.end(),
            [](const Tree::Member& a, const Tree::Member& b) { return a.name < b.name; });
  return tree;
}

Tree of_value(const google::protobuf::Value& value) {
  switch (value.kind_case()) {
    case google::protobuf::Value::kBoolValue:
      return Tree::of(value.bool_value());
    case google::protobuf::Value::kNumberValue:
      return of_number(value.number_value());
    case google::protobuf::Value::kStringValue:
      return Tree::of(value.string_value());
    case google::protobuf::Value::kListValue: {
      Tree tree = Tree::list();
      for (const auto& item : value.list_value().values()) tree.items.push_back(of_value(item));
      return tree;
    }
    case google::protobuf::Value::kStructValue:
      return of_struct(value.struct_value());
    case google::protobuf::Value::kNullValue:
    case google::protobuf::Value::KIND_NOT_SET:
      return {};
  }
  return {};
}

// `index`: of a repeated field; -1: the field itself.
Tree of_field(const Message& message, const FieldDescriptor& field, int index) {
  const auto& reflection = *message.GetReflection();
  const bool repeated = index >= 0;
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_MESSAGE:
      return write_message(repeated ? reflection.GetRepeatedMessage(message, &field, index)
                                    : reflection.GetMessage(message, &field));
    case FieldDescriptor::CPPTYPE_STRING:
      return Tree::of(repeated ? reflection.GetRepeatedString(message, &field, index)
                               : reflection.GetString(message, &field));
    case FieldDescriptor::CPPTYPE_ENUM:
      return Tree::of(std::string((repeated ? reflection.GetRepeatedEnum(message, &field, index)
                                            : reflection.GetEnum(message, &field))
                                      ->name()));
    case FieldDescriptor::CPPTYPE_BOOL:
      return Tree::of(repeated ? reflection.GetRepeatedBool(message, &field, index)
                               : reflection.GetBool(message, &field));
    case FieldDescriptor::CPPTYPE_INT32:
      return Tree::of(int64_t{repeated ? reflection.GetRepeatedInt32(message, &field, index)
                                       : reflection.GetInt32(message, &field)});
    case FieldDescriptor::CPPTYPE_INT64:
      return Tree::of(repeated ? int64_t{reflection.GetRepeatedInt64(message, &field, index)}
                               : int64_t{reflection.GetInt64(message, &field)});
    case FieldDescriptor::CPPTYPE_UINT32:
      return Tree::of(int64_t{repeated ? reflection.GetRepeatedUInt32(message, &field, index)
                                       : reflection.GetUInt32(message, &field)});
    case FieldDescriptor::CPPTYPE_UINT64:
      return of_number(
          static_cast<double>(repeated ? reflection.GetRepeatedUInt64(message, &field, index)
                                       : reflection.GetUInt64(message, &field)));
    case FieldDescriptor::CPPTYPE_DOUBLE:
    case FieldDescriptor::CPPTYPE_FLOAT:
      return of_number(repeated ? reflection.GetRepeatedDouble(message, &field, index)
                                : reflection.GetDouble(message, &field));
  }
  return {};
}

std::string key_text(const Tree& key) {
  return key.kind == Tree::Kind::kString ? key.text : write_json(key);
}

Tree of_repeated(const Message& message, const FieldDescriptor& field) {
  const int size = message.GetReflection()->FieldSize(message, &field);
  if (!field.is_map()) {
    Tree tree = Tree::list();
    for (int i = 0; i < size; ++i) tree.items.push_back(of_field(message, field, i));
    return tree;
  }
  Tree tree = Tree::map();
  for (int i = 0; i < size; ++i) {
    const Message& entry = message.GetReflection()->GetRepeatedMessage(message, &field, i);
    tree.add(key_text(of_field(entry, *field.message_type()->map_key(), -1)),
             of_field(entry, *field.message_type()->map_value(), -1));
  }
  std::sort(tree.members.begin(), tree.members.end(),
            [](const Tree::Member& a, const Tree::Member& b) { return a.name < b.name; });
  return tree;
}

}  // namespace

Tree write_message(const Message& message) {
  if (const auto* value = dynamic_cast<const google::protobuf::Value*>(&message)) {
    return of_value(*value);
  }
  if (const auto* fields = dynamic_cast<const google::protobuf::Struct*>(&message)) {
    return of_struct(*fields);
  }
  const auto& type = *message.GetDescriptor();
  if (type.file()->name() == "google/protobuf/wrappers.proto") {
    return of_field(message, *type.field(0), -1);
  }
  std::vector<const FieldDescriptor*> present;
  message.GetReflection()->ListFields(message, &present);
  Tree tree = Tree::map();
  for (const FieldDescriptor* field : present) {
    tree.add(field->name(),
             field->is_repeated() ? of_repeated(message, *field) : of_field(message, *field, -1));
  }
  return tree;
}

}  // namespace weft::objects
