#include "agent/objects/tree.h"

namespace weft::objects {

Tree Tree::of(std::string value) {
  Tree tree;
  tree.kind = Kind::kString;
  tree.text = std::move(value);
  return tree;
}

Tree Tree::of(const char* value) { return of(std::string(value)); }

Tree Tree::of(bool value) {
  Tree tree;
  tree.kind = Kind::kBool;
  tree.boolean = value;
  return tree;
}

Tree Tree::of(int64_t value) {
  Tree tree;
  tree.kind = Kind::kInteger;
  tree.integer = value;
  return tree;
}

Tree Tree::of(double value) {
  Tree tree;
  tree.kind = Kind::kNumber;
  tree.number = value;
  return tree;
}

Tree Tree::list() {
  Tree tree;
  tree.kind = Kind::kList;
  return tree;
}

Tree Tree::map() {
  Tree tree;
  tree.kind = Kind::kMap;
  return tree;
}

const Tree* Tree::find(std::string_view name) const {
  for (const Member& member : members) {
    if (member.name == name) return &member.value;
  }
  return nullptr;
}

std::string_view Tree::text_of(std::string_view name) const {
  const Tree* member = find(name);
  return member != nullptr && member->kind == Kind::kString ? std::string_view(member->text) : "";
}

void Tree::add(std::string name, Tree value) {
  members.push_back({std::move(name), std::move(value)});
}

std::string Tree::describe() const {
  switch (kind) {
    case Kind::kNull:
      return "nothing";
    case Kind::kBool:
      return boolean ? "the boolean true" : "the boolean false";
    case Kind::kInteger:
      return "the number " + std::to_string(integer);
    case Kind::kNumber:
      return "the number " + write_json(*this);
    case Kind::kString:
      return text.size() <= 80 ? write_json(*this)
                               : "a string of " + std::to_string(text.size()) + " bytes";
    case Kind::kList:
      return "a list";
    case Kind::kMap:
      return "a map";
  }
  return "nothing";
}

}  // namespace weft::objects
