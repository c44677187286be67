// What the API server is told of a message's fields. Only what it can check without us: the rest is
// in validate_*.cc and in the chart's admission policies.

#include "agent/objects/crd/definition.h"
#include "proto/crd/rules.pb.h"

#include <algorithm>
#include <limits>
#include <sstream>

namespace weft::objects {

namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::OneofDescriptor;

constexpr double kPortMax = 65535;

const crd::FieldRules& rules_of(const FieldDescriptor& field) {
  return field.options().GetExtension(crd::field);
}

Tree typed(const char* type) {
  Tree schema = Tree::map();
  schema.add("type", Tree::of(type));
  return schema;
}

Tree of_number(double number) {
  if (number == static_cast<double>(static_cast<int64_t>(number))) {
    return Tree::of(static_cast<int64_t>(number));
  }
  return Tree::of(number);
}

// A comment as one paragraph; the first one, if there are several.
std::string paragraph(const std::string& comment) {
  std::istringstream lines(comment);
  std::string text;
  std::string line;
  while (std::getline(lines, line)) {
    std::istringstream words(line);
    std::string word;
    bool blank = true;
    while (words >> word) {
      blank = false;
      text += (text.empty() ? "" : " ") + word;
    }
    if (blank && !text.empty()) break;
  }
  return text;
}

template <class Described>
std::string comment_of(const Described& described) {
  google::protobuf::SourceLocation at;
  if (!described.GetSourceLocation(&at)) return {};
  const std::string before = paragraph(at.leading_comments);
  return before.empty() ? paragraph(at.trailing_comments) : before;
}

// A list beside what the schema has under that name already.
void add_joined(std::string_view name, Tree list, Tree& schema) {
  for (Tree::Member& member : schema.members) {
    if (member.name != name) continue;
    for (Tree& item : list.items) member.value.items.push_back(std::move(item));
    return;
  }
  schema.add(std::string(name), std::move(list));
}

void add_rules(const google::protobuf::RepeatedPtrField<crd::Cel>& rules, Tree& schema) {
  if (rules.empty()) return;
  Tree list = Tree::list();
  for (const crd::Cel& cel : rules) {
    Tree rule = Tree::map();
    rule.add("rule", Tree::of(cel.rule()));
    rule.add("message", Tree::of(cel.message()));
    list.items.push_back(std::move(rule));
  }
  add_joined("x-kubernetes-validations", std::move(list), schema);
}

Tree required(const std::string& name) {
  Tree schema = Tree::map();
  schema.add("required", Tree::list());
  schema.members.back().value.items.push_back(Tree::of(name));
  return schema;
}

// None of the oneof's fields, or exactly one.
Tree at_most_one(const OneofDescriptor& oneof) {
  Tree any = Tree::list();
  for (int i = 0; i < oneof.field_count(); ++i)
    any.items.push_back(required(oneof.field(i)->name()));
  Tree one = any;
  Tree none = Tree::map();
  none.add("not", Tree::map());
  none.members.back().value.add("anyOf", std::move(any));
  one.items.insert(one.items.begin(), std::move(none));
  Tree schema = Tree::map();
  schema.add("oneOf", std::move(one));
  return schema;
}

void add_oneofs(const Descriptor& message, Tree& schema) {
  const int count = message.real_oneof_decl_count();
  if (count == 1) {
    Tree only = at_most_one(*message.oneof_decl(0));
    schema.members.push_back(std::move(only.members.front()));
  } else if (count > 1) {
    Tree all = Tree::list();
    for (int i = 0; i < count; ++i) all.items.push_back(at_most_one(*message.oneof_decl(i)));
    schema.add("allOf", std::move(all));
  }
}

Tree text_schema(const crd::FieldRules& rules) {
  Tree schema = typed("string");
  if (!rules.format().empty()) schema.add("format", Tree::of(rules.format()));
  if (rules.nonempty()) schema.add("minLength", Tree::of(int64_t{1}));
  if (rules.max_length() > 0) schema.add("maxLength", Tree::of(int64_t{rules.max_length()}));
  if (!rules.pattern().empty()) schema.add("pattern", Tree::of(rules.pattern()));
  if (rules.one_of_size() > 0) {
    Tree values = Tree::list();
    for (const std::string& value : rules.one_of()) values.items.push_back(Tree::of(value));
    schema.add("enum", std::move(values));
  }
  return schema;
}

Tree enum_schema(const google::protobuf::EnumDescriptor& type) {
  Tree schema = typed("string");
  Tree values = Tree::list();
  for (int i = 0; i < type.value_count(); ++i) {
    values.items.push_back(Tree::of(type.value(i)->name()));
  }
  schema.add("enum", std::move(values));
  return schema;
}

Tree number_schema(const FieldDescriptor& field, const crd::FieldRules& rules) {
  const auto type = field.cpp_type();
  const bool whole =
      type != FieldDescriptor::CPPTYPE_DOUBLE && type != FieldDescriptor::CPPTYPE_FLOAT;
  Tree schema = typed(whole ? "integer" : "number");
  if (type == FieldDescriptor::CPPTYPE_INT32) schema.add("format", Tree::of("int32"));
  if (type == FieldDescriptor::CPPTYPE_INT64) schema.add("format", Tree::of("int64"));
  if (!whole) schema.add("format", Tree::of("double"));
  const bool is_unsigned =
      type == FieldDescriptor::CPPTYPE_UINT32 || type == FieldDescriptor::CPPTYPE_UINT64;
  if (rules.port()) {
    schema.add("minimum", Tree::of(int64_t{1}));
    schema.add("maximum", of_number(kPortMax));
    return schema;
  }
  if (rules.has_minimum()) {
    schema.add("minimum", of_number(rules.minimum()));
  } else if (is_unsigned) {
    schema.add("minimum", Tree::of(int64_t{0}));
  }
  if (rules.has_maximum()) {
    schema.add("maximum", of_number(rules.maximum()));
  } else if (type == FieldDescriptor::CPPTYPE_UINT32) {
    schema.add("maximum", Tree::of(int64_t{std::numeric_limits<uint32_t>::max()}));
  }
  return schema;
}

// google.protobuf.Value: what the reader does not look at.
Tree value_schema(const FieldDescriptor& field, const crd::FieldRules& rules) {
  if (!rules.schema_of().empty()) {
    const auto* message = field.file()->pool()->FindMessageTypeByName(rules.schema_of());
    if (message != nullptr) return schema_of(*message);
  }
  Tree schema = rules.object() ? typed("object") : Tree::map();
  if (rules.int_or_string()) {
    schema.add("x-kubernetes-int-or-string", Tree::of(true));
  } else {
    schema.add("x-kubernetes-preserve-unknown-fields", Tree::of(true));
  }
  return schema;
}

// Of one value: the field's own, or each of its elements.
Tree single_schema(const FieldDescriptor& field, const crd::FieldRules& rules) {
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_MESSAGE:
      if (field.message_type()->full_name() == "google.protobuf.Value") {
        return value_schema(field, rules);
      }
      return schema_of(*field.message_type());
    case FieldDescriptor::CPPTYPE_STRING:
      return text_schema(rules);
    case FieldDescriptor::CPPTYPE_ENUM:
      return enum_schema(*field.enum_type());
    case FieldDescriptor::CPPTYPE_BOOL:
      return typed("boolean");
    default:
      return number_schema(field, rules);
  }
}

void add_single_rules(const crd::FieldRules& rules,
                      const google::protobuf::RepeatedPtrField<crd::Cel>& own, Tree& schema) {
  google::protobuf::RepeatedPtrField<crd::Cel> all = own;
  if (rules.duration()) {
    crd::Cel& cel = *all.Add();
    cel.set_rule("duration(self) >= duration('1ms')");
    cel.set_message("expected a duration of at least 1ms, such as 1.5s or 3m");
  }
  add_rules(all, schema);
}

Tree list_schema(const FieldDescriptor& field, const crd::FieldRules& rules) {
  Tree schema = typed("array");
  if (rules.nonempty()) schema.add("minItems", Tree::of(int64_t{1}));
  if (rules.max_items() > 0) schema.add("maxItems", Tree::of(int64_t{rules.max_items()}));
  if (rules.list_keys_size() > 0) {
    schema.add("x-kubernetes-list-type", Tree::of("map"));
    Tree keys = Tree::list();
    for (const std::string& key : rules.list_keys()) keys.items.push_back(Tree::of(key));
    schema.add("x-kubernetes-list-map-keys", std::move(keys));
  }
  Tree items = single_schema(field, rules);
  add_single_rules(rules, rules.each(), items);
  schema.add("items", std::move(items));
  add_rules(rules.cel(), schema);
  return schema;
}

Tree map_schema(const FieldDescriptor& field, const crd::FieldRules& rules) {
  Tree schema = typed("object");
  if (rules.nonempty()) schema.add("minProperties", Tree::of(int64_t{1}));
  if (rules.max_items() > 0) schema.add("maxProperties", Tree::of(int64_t{rules.max_items()}));
  crd::FieldRules of_values = rules;
  of_values.set_nonempty(false);  // was said of the map
  Tree values = single_schema(*field.message_type()->map_value(), of_values);
  add_single_rules(rules, rules.each(), values);
  schema.add("additionalProperties", std::move(values));
  add_rules(rules.cel(), schema);
  return schema;
}

Tree field_schema(const FieldDescriptor& field) {
  const crd::FieldRules& rules = rules_of(field);
  Tree schema;
  if (field.is_map()) {
    schema = map_schema(field, rules);
  } else if (field.is_repeated()) {
    schema = list_schema(field, rules);
  } else {
    schema = single_schema(field, rules);
    add_single_rules(rules, rules.cel(), schema);
  }
  if (rules.nullable()) schema.add("nullable", Tree::of(true));
  std::string text = comment_of(field);
  if (!text.empty()) {
    std::erase_if(schema.members, [](const auto& member) { return member.name == "description"; });
    schema.add("description", Tree::of(std::move(text)));
  }
  return schema;
}

}  // namespace

Tree schema_of(const Descriptor& message) {
  const crd::MessageRules& rules = message.options().GetExtension(crd::message);
  const bool is_kind = message.options().HasExtension(crd::kind);
  Tree schema = typed("object");
  Tree properties = Tree::map();
  Tree names = Tree::list();
  for (int i = 0; i < message.field_count(); ++i) {
    const FieldDescriptor& field = *message.field(i);
    if (is_kind && field.name() == "metadata") continue;  // the API server's own
    Tree own = field_schema(field);
    if (is_kind && field.name() == "spec" && own.find("description") == nullptr) {
      own.add("description", Tree::of(comment_of(message)));
    }
    const std::string& also = rules_of(field).also();
    if (!also.empty()) properties.add(also, own);
    properties.add(field.name(), std::move(own));
    if (rules_of(field).required()) names.items.push_back(Tree::of(field.name()));
  }
  schema.add("properties", std::move(properties));
  if (!names.items.empty()) schema.add("required", std::move(names));
  add_oneofs(message, schema);
  add_rules(rules.cel(), schema);
  if (rules.keep_unknown()) schema.add("x-kubernetes-preserve-unknown-fields", Tree::of(true));
  std::string text = comment_of(message);
  if (!text.empty()) schema.add("description", Tree::of(std::move(text)));
  return schema;
}

}  // namespace weft::objects
