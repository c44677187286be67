#include "agent/objects/reader.h"

#include "agent/objects/rules.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/struct.pb.h>

#include <charconv>
#include <limits>
#include <set>

namespace weft::objects {

namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

constexpr size_t kNamesListedMax = 24;  // in "expected one of"; a screen line or three

const weft::crd::FieldRules& rules_of(const FieldDescriptor& field) {
  return field.options().GetExtension(weft::crd::field);
}

std::string join(const std::vector<std::string_view>& names) {
  std::string text;
  for (size_t i = 0; i < names.size() && i < kNamesListedMax; ++i) {
    if (i > 0) text += ", ";
    text += names[i];
  }
  if (names.size() > kNamesListedMax) text += ", ...";
  return text;
}

std::string one_of(std::string_view got, const std::vector<std::string_view>& names) {
  const std::string_view near = nearest(got, names);
  std::string text = near.empty() ? "" : " (did you mean " + std::string(near) + "?)";
  return text + "; expected one of " + join(names);
}

// Calls `use` for every member but the second of a name, which is reported.
template <class Use>
void for_each_member(const Tree& tree, Report& report, bool free_keys, Use use) {
  std::set<std::string_view> seen;
  for (const Tree::Member& member : tree.members) {
    const auto here = free_keys ? report.at_key(member.name) : report.at(member.name);
    if (!seen.insert(member.name).second) {
      report.add("written twice");
      continue;
    }
    use(member);
  }
}

bool expect(const Tree& tree, Tree::Kind kind, std::string_view what, Report& report) {
  if (tree.kind == kind) return true;
  std::string text = "expected " + std::string(what) + ", got " + tree.describe();
  if (kind == Tree::Kind::kString &&
      (tree.kind == Tree::Kind::kBool || tree.kind == Tree::Kind::kInteger ||
       tree.kind == Tree::Kind::kNumber)) {
    text += "; write it in quotes: \"" + (tree.text.empty() ? write_json(tree) : tree.text) + "\"";
  }
  report.add(text);
  return false;
}

bool read_text(const Tree& tree, std::string& text, Report& report) {
  if (!expect(tree, Tree::Kind::kString, "a string", report)) return false;
  if (tree.text.find('\0') != std::string::npos) {
    report.add("expected a string without NUL characters");
    return false;
  }
  text = tree.text;
  return true;
}

template <class Number>
bool read_integer(const Tree& tree, Number& number, Report& report) {
  constexpr auto kMin = std::numeric_limits<Number>::min();
  constexpr auto kMax = std::numeric_limits<Number>::max();
  if (tree.kind == Tree::Kind::kInteger && std::in_range<Number>(tree.integer)) {
    number = static_cast<Number>(tree.integer);
    return true;
  }
  report.add("expected a whole number from " + std::to_string(kMin) + " to " +
             std::to_string(kMax) + ", got " + tree.describe());
  return false;
}

// google.protobuf.Value: whatever was written.
void read_value(const Tree& tree, google::protobuf::Value& value, Report& report) {
  switch (tree.kind) {
    case Tree::Kind::kNull:
      value.set_null_value(google::protobuf::NULL_VALUE);
      return;
    case Tree::Kind::kBool:
      value.set_bool_value(tree.boolean);
      return;
    case Tree::Kind::kInteger:
      value.set_number_value(static_cast<double>(tree.integer));
      return;
    case Tree::Kind::kNumber:
      value.set_number_value(tree.number);
      return;
    case Tree::Kind::kString:
      value.set_string_value(tree.text);
      return;
    case Tree::Kind::kList:
      value.mutable_list_value();
      for (size_t i = 0; i < tree.items.size(); ++i) {
        const auto here = report.at(i);
        read_value(tree.items[i], *value.mutable_list_value()->add_values(), report);
      }
      return;
    case Tree::Kind::kMap: {
      auto& fields = *value.mutable_struct_value()->mutable_fields();
      for_each_member(tree, report, false, [&](const Tree::Member& member) {
        read_value(member.value, fields[member.name], report);
      });
      return;
    }
  }
}

// One field of one message, and how a scalar gets into it: as the only value, or as one more.
struct Slot {
  Message& message;
  const FieldDescriptor& field;
  bool append;

  const Reflection& reflection() const { return *message.GetReflection(); }
  void put(bool value) const {
    append ? reflection().AddBool(&message, &field, value)
           : reflection().SetBool(&message, &field, value);
  }
  void put(int32_t value) const {
    append ? reflection().AddInt32(&message, &field, value)
           : reflection().SetInt32(&message, &field, value);
  }
  void put(int64_t value) const {
    append ? reflection().AddInt64(&message, &field, value)
           : reflection().SetInt64(&message, &field, value);
  }
  void put(uint32_t value) const {
    append ? reflection().AddUInt32(&message, &field, value)
           : reflection().SetUInt32(&message, &field, value);
  }
  void put(uint64_t value) const {
    append ? reflection().AddUInt64(&message, &field, value)
           : reflection().SetUInt64(&message, &field, value);
  }
  void put(double value) const {
    append ? reflection().AddDouble(&message, &field, value)
           : reflection().SetDouble(&message, &field, value);
  }
  void put(std::string value) const {
    append ? reflection().AddString(&message, &field, std::move(value))
           : reflection().SetString(&message, &field, std::move(value));
  }
  void put(const google::protobuf::EnumValueDescriptor* value) const {
    append ? reflection().AddEnum(&message, &field, value)
           : reflection().SetEnum(&message, &field, value);
  }
  Message& put_message() const {
    return append ? *reflection().AddMessage(&message, &field)
                  : *reflection().MutableMessage(&message, &field);
  }
};

void read_string(const Tree& tree, const Slot& slot, Report& report) {
  std::string text;
  if (!read_text(tree, text, report)) return;
  const auto& rules = rules_of(slot.field);
  if (rules.nonempty() && text.empty()) report.add("must not be empty");
  if (rules.one_of_size() > 0) {
    const std::vector<std::string_view> names(rules.one_of().begin(), rules.one_of().end());
    if (std::find(names.begin(), names.end(), text) == names.end()) {
      report.add("unknown value " + write_json(tree) + one_of(text, names));
      return;
    }
  }
  slot.put(std::move(text));
}

void read_enum(const Tree& tree, const Slot& slot, Report& report) {
  if (!expect(tree, Tree::Kind::kString, "a string", report)) return;
  const auto& type = *slot.field.enum_type();
  if (const auto* value = type.FindValueByName(tree.text)) {
    slot.put(value);
    return;
  }
  std::vector<std::string_view> names;
  for (int i = 0; i < type.value_count(); ++i) names.emplace_back(type.value(i)->name());
  report.add("unknown value " + write_json(tree) + one_of(tree.text, names));
}

template <class Number>
void read_whole(const Tree& tree, const Slot& slot, Report& report) {
  Number number{};
  if (read_integer(tree, number, report)) slot.put(number);
}

void read_one(const Tree& tree, const Slot& slot, Report& report) {
  switch (slot.field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_MESSAGE:
      return read_message(tree, slot.put_message(), report);
    case FieldDescriptor::CPPTYPE_STRING:
      return read_string(tree, slot, report);
    case FieldDescriptor::CPPTYPE_ENUM:
      return read_enum(tree, slot, report);
    case FieldDescriptor::CPPTYPE_BOOL:
      if (expect(tree, Tree::Kind::kBool, "true or false", report)) slot.put(tree.boolean);
      return;
    case FieldDescriptor::CPPTYPE_INT32:
      return read_whole<int32_t>(tree, slot, report);
    case FieldDescriptor::CPPTYPE_INT64:
      return read_whole<int64_t>(tree, slot, report);
    case FieldDescriptor::CPPTYPE_UINT32:
      return read_whole<uint32_t>(tree, slot, report);
    case FieldDescriptor::CPPTYPE_UINT64:
      return read_whole<uint64_t>(tree, slot, report);
    case FieldDescriptor::CPPTYPE_DOUBLE:
    case FieldDescriptor::CPPTYPE_FLOAT:
      if (tree.kind == Tree::Kind::kInteger) return slot.put(static_cast<double>(tree.integer));
      if (expect(tree, Tree::Kind::kNumber, "a number", report)) slot.put(tree.number);
      return;
  }
}

void read_list(const Tree& tree, Message& message, const FieldDescriptor& field, Report& report) {
  if (!expect(tree, Tree::Kind::kList, "a list", report)) return;
  if (tree.items.empty() && rules_of(field).nonempty()) {
    report.add("must not be empty: leave it out, or give it an element");
  }
  check_count(rules_of(field), tree.items.size(), report);
  for (size_t i = 0; i < tree.items.size(); ++i) {
    const auto here = report.at(i);
    read_one(tree.items[i], {message, field, true}, report);
    check_value(rules_of(field), tree.items[i], report);
  }
}

// A key is text; one that is to be a number is taken for one only in its plain decimal form, so
// that no two keys are the same number.
Tree key_tree(const std::string& text, const FieldDescriptor& key) {
  if (key.cpp_type() == FieldDescriptor::CPPTYPE_STRING) return Tree::of(text);
  Tree number = resolve_plain_scalar(text);
  return write_json(number) == text ? number : Tree::of(text);
}

// A map's entry is a message with the fields 1 (key) and 2 (value).
void read_map(const Tree& tree, Message& message, const FieldDescriptor& field, Report& report) {
  if (!expect(tree, Tree::Kind::kMap, "a map", report)) return;
  if (tree.members.empty() && rules_of(field).nonempty()) {
    report.add("must not be empty: leave it out, or give it an entry");
  }
  check_count(rules_of(field), tree.members.size(), report);
  const FieldDescriptor& key = *field.message_type()->map_key();
  const FieldDescriptor& value = *field.message_type()->map_value();
  for_each_member(tree, report, true, [&](const Tree::Member& member) {
    Message& entry = *message.GetReflection()->AddMessage(&message, &field);
    const size_t mistakes_before = report.size();
    read_one(key_tree(member.name, key), {entry, key, false}, report);
    if (report.size() > mistakes_before) {
      message.GetReflection()->RemoveLast(&message, &field);
      return;
    }
    if (member.value.is_null()) return;
    read_one(member.value, {entry, value, false}, report);
    check_value(rules_of(field), member.value, report);
  });
}

void read_field(const Tree& tree, Message& message, const FieldDescriptor& field, Report& report) {
  if (tree.is_null()) return;
  if (field.is_map()) return read_map(tree, message, field, report);
  if (field.is_repeated()) return read_list(tree, message, field, report);
  const auto* oneof = field.real_containing_oneof();
  if (oneof != nullptr && message.GetReflection()->HasOneof(message, oneof)) {
    const auto* other = message.GetReflection()->GetOneofFieldDescriptor(message, oneof);
    report.add("cannot stand beside " + other->name());
    return;
  }
  read_one(tree, {message, field, false}, report);
  check_value(rules_of(field), tree, report);
}

// The field of that name, or that had it once.
const FieldDescriptor* find_field(const google::protobuf::Descriptor& type,
                                  const std::string& name) {
  if (const FieldDescriptor* field = type.FindFieldByName(name)) return field;
  for (int i = 0; i < type.field_count(); ++i) {
    if (!name.empty() && rules_of(*type.field(i)).also() == name) return type.field(i);
  }
  return nullptr;
}

// google.protobuf.StringValue and its like: the plain value.
bool is_wrapper(const google::protobuf::Descriptor& type) {
  return type.file()->name() == "google/protobuf/wrappers.proto";
}

std::string_view article_and_type(const FieldDescriptor& field) {
  if (field.is_map()) return "a map";
  if (field.is_repeated()) return "a list";
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_MESSAGE:
      return "a map";
    case FieldDescriptor::CPPTYPE_STRING:
    case FieldDescriptor::CPPTYPE_ENUM:
      return "a string";
    case FieldDescriptor::CPPTYPE_BOOL:
      return "true or false";
    default:
      return "a number";
  }
}

}  // namespace

void read_message(const Tree& tree, Message& message, Report& report) {
  const auto& type = *message.GetDescriptor();
  if (auto* value = dynamic_cast<google::protobuf::Value*>(&message)) {
    return read_value(tree, *value, report);
  }
  if (is_wrapper(type)) return read_one(tree, {message, *type.field(0), false}, report);
  if (!expect(tree, Tree::Kind::kMap, "a map", report)) return;
  for_each_member(tree, report, false, [&](const Tree::Member& member) {
    if (const FieldDescriptor* field = find_field(type, member.name)) {
      return read_field(member.value, message, *field, report);
    }
    if (type.options().GetExtension(weft::crd::message).keep_unknown()) return;
    std::vector<std::string_view> names;
    for (int i = 0; i < type.field_count(); ++i) names.emplace_back(type.field(i)->name());
    report.add("unknown field" + one_of(member.name, names));
  });
  for (int i = 0; i < type.field_count(); ++i) {
    const FieldDescriptor& field = *type.field(i);
    if (!rules_of(field).required()) continue;
    const Tree* written = tree.find(field.name());
    if (written != nullptr && !written->is_null()) continue;
    const auto here = report.at(field.name());
    report.add("missing; expected " + std::string(article_and_type(field)));
  }
}

}  // namespace weft::objects
