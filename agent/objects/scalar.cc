#include "agent/objects/tree.h"

#include <array>
#include <charconv>
#include <cmath>

namespace weft::objects {

namespace {

// The words that YAML 1.1, and so kubectl, takes for booleans and nulls.
constexpr std::array<std::string_view, 11> kTrue = {"true", "True", "TRUE", "yes", "Yes", "YES",
                                                    "on",   "On",   "ON",   "y",   "Y"};
constexpr std::array<std::string_view, 11> kFalse = {"false", "False", "FALSE", "no", "No", "NO",
                                                     "off",   "Off",   "OFF",   "n",  "N"};
constexpr std::array<std::string_view, 5> kNull = {"", "~", "null", "Null", "NULL"};

template <size_t size>
bool is_one_of(std::string_view text, const std::array<std::string_view, size>& words) {
  for (const std::string_view word : words) {
    if (text == word) return true;
  }
  return false;
}

// Decimal, 0x1f, 0o17 and 017 (octal), 0b11, with a sign and with '_' between digits.
bool to_integer(std::string_view text, int64_t& value) {
  std::string digits;
  for (const char character : text) {
    if (character != '_') digits += character;
  }
  std::string_view rest = digits;
  const bool negative = rest.starts_with('-');
  if (negative || rest.starts_with('+')) rest.remove_prefix(1);
  int base = 10;
  if (rest.starts_with("0x") || rest.starts_with("0o") || rest.starts_with("0b")) {
    base = rest[1] == 'x' ? 16 : (rest[1] == 'o' ? 8 : 2);
    rest.remove_prefix(2);
  } else if (rest.size() > 1 && rest[0] == '0') {
    base = 8;
  }
  if (rest.empty() || rest[0] == '-' || rest[0] == '+') return false;
  const std::string whole = (negative ? "-" : "") + std::string(rest);
  const auto end = std::from_chars(whole.data(), whole.data() + whole.size(), value, base);
  return end.ec == std::errc() && end.ptr == whole.data() + whole.size();
}

// 1.5, .5, 1e3, 12345678901234567890. Not infinity or NaN, which JSON and the API do not have.
bool to_number(std::string_view text, double& value) {
  std::string_view rest = text;
  if (rest.starts_with('+')) rest.remove_prefix(1);
  const size_t first = rest.starts_with('-') ? 1 : 0;
  if (first >= rest.size()) return false;
  const char head = rest[first];
  if (head != '.' && (head < '0' || head > '9')) return false;
  const auto end = std::from_chars(rest.data(), rest.data() + rest.size(), value);
  return end.ec == std::errc() && end.ptr == rest.data() + rest.size() && std::isfinite(value);
}

}  // namespace

Tree resolve_plain_scalar(std::string text) {
  Tree tree;
  int64_t integer = 0;
  double number = 0;
  if (is_one_of(text, kNull)) {
    tree.kind = Tree::Kind::kNull;
  } else if (is_one_of(text, kTrue) || is_one_of(text, kFalse)) {
    tree = Tree::of(is_one_of(text, kTrue));
  } else if (to_integer(text, integer)) {
    tree = Tree::of(integer);
  } else if (to_number(text, number)) {
    tree = Tree::of(number);
  } else {
    tree.kind = Tree::Kind::kString;
  }
  tree.text = std::move(text);
  return tree;
}

}  // namespace weft::objects
