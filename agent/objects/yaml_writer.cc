#include "agent/objects/tree.h"

namespace weft::objects {

namespace {

bool is_plain_character(char character) {
  return (character >= 'a' && character <= 'z') || (character >= 'A' && character <= 'Z') ||
         (character >= '0' && character <= '9') || character == '.' || character == '_' ||
         character == '/' || character == '-';
}

// Without quotes only what no YAML reader takes for anything but this string: the characters of
// names and paths, not beginning with a sign of the syntax, not resolved as another type.
bool may_be_plain(const std::string& text) {
  if (text.empty() || text[0] == '-' || text[0] == '.') return false;
  for (const char character : text) {
    if (!is_plain_character(character)) return false;
  }
  // Timestamps and numbers with a base look like words; some readers resolve them.
  if (text[0] >= '0' && text[0] <= '9') return false;
  return resolve_plain_scalar(text).kind == Tree::Kind::kString;
}

std::string scalar(const Tree& tree) {
  if (tree.kind == Tree::Kind::kString && may_be_plain(tree.text)) return tree.text;
  return write_json(tree);  // JSON's scalars, [] and {} are YAML
}

bool is_block(const Tree& tree) { return !tree.items.empty() || !tree.members.empty(); }

void write(const Tree& tree, size_t indent, std::string& out);

// What stands behind "key:" or "-".
void write_value(const Tree& value, size_t indent, std::string& out) {
  if (!is_block(value)) {
    out += ' ';
    out += scalar(value);
    out += '\n';
    return;
  }
  out += '\n';
  write(value, indent, out);
}

void write(const Tree& tree, size_t indent, std::string& out) {
  for (const Tree::Member& member : tree.members) {
    out.append(indent, ' ');
    out += scalar(Tree::of(member.name));
    out += ':';
    // kubectl writes a list at its key's own indent.
    const bool list = member.value.kind == Tree::Kind::kList;
    write_value(member.value, list ? indent : indent + 2, out);
  }
  for (const Tree& item : tree.items) {
    out.append(indent, ' ');
    out += '-';
    if (item.kind == Tree::Kind::kMap && is_block(item)) {
      std::string inner;
      write(item, indent + 2, inner);
      out += ' ';
      out += std::string_view(inner).substr(indent + 2);
    } else {
      write_value(item, indent + 2, out);
    }
  }
}

}  // namespace

std::string write_yaml(const Tree& tree) {
  if (!is_block(tree)) return scalar(tree) + "\n";
  std::string out;
  write(tree, 0, out);
  return out;
}

}  // namespace weft::objects
