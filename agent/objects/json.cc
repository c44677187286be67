#include "agent/objects/tree.h"

#include <simdjson.h>

#include <charconv>
#include <cmath>

namespace weft::objects {

namespace {

using simdjson::dom::element_type;

// A copy of the parsed document as a Tree. The parser has bounded the depth.
bool copy_element(const simdjson::dom::element& element, Tree& into, size_t& nodes) {
  if (++nodes > kTreeNodesMax) return false;
  switch (element.type()) {
    case element_type::NULL_VALUE:
      return true;
    case element_type::BOOL:
      into = Tree::of(element.get_bool().value_unsafe());
      return true;
    case element_type::INT64:
      into = Tree::of(element.get_int64().value_unsafe());
      return true;
    case element_type::UINT64:  // only what is no int64
      into = Tree::of(static_cast<double>(element.get_uint64().value_unsafe()));
      return true;
    case element_type::DOUBLE:
      into = Tree::of(element.get_double().value_unsafe());
      return true;
    case element_type::STRING:
      into = Tree::of(std::string(element.get_string().value_unsafe()));
      return true;
    case element_type::ARRAY:
      into = Tree::list();
      for (const auto item : element.get_array().value_unsafe()) {
        if (!copy_element(item, into.items.emplace_back(), nodes)) return false;
      }
      return true;
    case element_type::OBJECT:
      into = Tree::map();
      for (const auto field : element.get_object().value_unsafe()) {
        into.add(std::string(field.key), Tree());
        if (!copy_element(field.value, into.members.back().value, nodes)) return false;
      }
      return true;
  }
  return false;
}

void write_string(std::string_view text, std::string& out) {
  constexpr const char* kHex = "0123456789abcdef";
  out += '"';
  for (const char character : text) {
    switch (character) {
      case '"':
        out += "\\\"";
        break;
      case '\\':
        out += "\\\\";
        break;
      case '\n':
        out += "\\n";
        break;
      case '\t':
        out += "\\t";
        break;
      case '\r':
        out += "\\r";
        break;
      default:
        if (static_cast<unsigned char>(character) < 0x20 || character == 0x7f) {
          out += "\\u00";
          out += kHex[(character >> 4) & 0xf];
          out += kHex[character & 0xf];
        } else {
          out += character;
        }
    }
  }
  out += '"';
}

void write_number(double number, std::string& out) {
  if (!std::isfinite(number)) {
    out += "null";  // JSON has no word for it; no parser of ours makes one
    return;
  }
  // A whole number too large for an integer type must not look like one.
  constexpr double kPlainMax = 1e15;
  char buffer[32];
  const auto format =
      std::abs(number) < kPlainMax ? std::chars_format::general : std::chars_format::scientific;
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, number, format);
  out.append(buffer, end.ptr);
}

void write(const Tree& tree, std::string& out) {
  switch (tree.kind) {
    case Tree::Kind::kNull:
      out += "null";
      return;
    case Tree::Kind::kBool:
      out += tree.boolean ? "true" : "false";
      return;
    case Tree::Kind::kInteger:
      out += std::to_string(tree.integer);
      return;
    case Tree::Kind::kNumber:
      write_number(tree.number, out);
      return;
    case Tree::Kind::kString:
      write_string(tree.text, out);
      return;
    case Tree::Kind::kList: {
      const char* before = "[";
      for (const Tree& item : tree.items) {
        out += std::exchange(before, ",");
        write(item, out);
      }
      out += tree.items.empty() ? "[]" : "]";
      return;
    }
    case Tree::Kind::kMap: {
      const char* before = "{";
      for (const Tree::Member& member : tree.members) {
        out += std::exchange(before, ",");
        write_string(member.name, out);
        out += ':';
        write(member.value, out);
      }
      out += tree.members.empty() ? "{}" : "}";
      return;
    }
  }
}

}  // namespace

Result<Tree> parse_json(std::string_view text) {
  if (text.size() > kTextBytesMax) {
    return fail(Code::kLimit, "longer than " + std::to_string(kTextBytesMax) + " bytes");
  }
  simdjson::dom::parser parser(kTextBytesMax);
  auto failed = parser.allocate(text.size(), kDepthMax);
  simdjson::dom::element root;
  if (!failed) failed = parser.parse(text.data(), text.size(), true).get(root);
  if (failed) {
    return fail(Code::kInvalid, std::string("not JSON: ") + simdjson::error_message(failed));
  }
  Tree tree;
  size_t nodes = 0;
  if (!copy_element(root, tree, nodes)) {
    return fail(Code::kLimit, "more than " + std::to_string(kTreeNodesMax) + " values");
  }
  return tree;
}

std::string write_json(const Tree& tree) {
  std::string out;
  write(tree, out);
  return out;
}

}  // namespace weft::objects
