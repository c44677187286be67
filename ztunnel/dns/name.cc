#include "ztunnel/dns/name.h"

#include <algorithm>

namespace weft::dns {
namespace {

// Of DNS, not of a locale. A label's length is below 64 and so never a letter: a whole wire form
// may be folded byte by byte.
char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

void append_escaped(std::string& out, char c) {
  const auto byte = static_cast<unsigned char>(c);
  if (byte > ' ' && byte < 0x7f && c != '.' && c != '\\') {
    out += c;
    return;
  }
  out += '\\';
  out += static_cast<char>('0' + byte / 100);
  out += static_cast<char>('0' + byte / 10 % 10);
  out += static_cast<char>('0' + byte % 10);
}

}  // namespace

Result<Name> Name::parse(std::string_view text) {
  Name name;
  if (text.ends_with('.')) text.remove_suffix(1);
  while (!text.empty()) {
    const size_t dot = std::min(text.find('.'), text.size());
    if (!name.append(text.substr(0, dot))) {
      return fail(Code::kInvalid, "a DNS name has labels of 1 to 63 bytes, 255 in all: \"" +
                                      std::string(text) + "\" does not fit");
    }
    if (dot + 1 == text.size()) return fail(Code::kInvalid, "a DNS name with an empty label");
    text.remove_prefix(std::min(dot + 1, text.size()));
  }
  return name;
}

bool Name::append(std::string_view label) {
  if (label.empty() || label.size() > kLabelBytesMax) return false;
  if (wire_.size() + 1 + label.size() > kNameBytesMax) return false;
  wire_.back() = static_cast<char>(label.size());
  wire_ += label;
  wire_ += '\0';
  return true;
}

std::string Name::to_text() const {
  if (is_root()) return ".";
  std::string text;
  text.reserve(wire_.size());
  for (size_t at = 0; wire_[at] != '\0';) {
    const size_t length = static_cast<unsigned char>(wire_[at]);
    if (at > 0) text += '.';
    for (const char c : std::string_view(wire_).substr(at + 1, length)) append_escaped(text, c);
    at += 1 + length;
  }
  return text;
}

std::string Name::key() const {
  std::string text = to_text();
  std::ranges::transform(text, text.begin(), lower);
  return text;
}

bool Name::same_as(const Name& other) const {
  return std::ranges::equal(wire_, other.wire_, {}, lower, lower);
}

}  // namespace weft::dns
