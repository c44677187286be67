#include "ztunnel/routing/normalize.h"

#include <algorithm>
#include <cctype>
#include <optional>

namespace weft::routing {
namespace {

std::optional<unsigned> hex_digit(char c) {
  if (c >= '0' && c <= '9') return static_cast<unsigned>(c - '0');
  if (c >= 'a' && c <= 'f') return static_cast<unsigned>(c - 'a' + 10);
  if (c >= 'A' && c <= 'F') return static_cast<unsigned>(c - 'A' + 10);
  return std::nullopt;
}

// The byte that "%41" at the end of the text stands for.
std::optional<char> escape_at_end_of(std::string_view text) {
  if (text.size() < 3 || text[text.size() - 3] != '%') return std::nullopt;
  const auto high = hex_digit(text[text.size() - 2]);
  const auto low = hex_digit(text[text.size() - 1]);
  if (!high || !low) return std::nullopt;
  return static_cast<char>(*high << 4 | *low);
}

bool is_unreserved(char c) {
  return (std::isalnum(static_cast<unsigned char>(c)) != 0) || c == '-' || c == '.' || c == '_' ||
         c == '~';
}

// What each byte is. "%252F" stays as it is; what only decoding makes an escape ("%2%46") is
// decoded too, so that nobody behind us finds one that we did not see. nullopt: a NUL.
std::optional<std::string> decoded(std::string_view path, bool decode_slashes) {
  std::string made;
  made.reserve(path.size());
  for (const char byte : path) {
    made += byte == '\\' ? '/' : byte;
    while (const auto meant = escape_at_end_of(made)) {
      if (*meant == '\0') return std::nullopt;
      const bool is_slash = *meant == '/' || *meant == '\\';
      if (!is_unreserved(*meant) && !(is_slash && decode_slashes)) break;
      made.resize(made.size() - 3);
      made += is_slash ? '/' : *meant;
    }
    if (made.back() == '\0') return std::nullopt;
  }
  return made;
}

// RFC 3986 section 5.2.4. ".." takes the segment before it, which may be an empty one.
std::string without_dots(std::string_view path) {
  std::string made;
  made.reserve(path.size());
  while (!path.empty()) {
    const size_t end = path.find('/', 1);  // the path begins with a slash, here and after each turn
    const std::string_view segment = path.substr(0, end);
    const bool is_last = end == std::string_view::npos;
    path = is_last ? std::string_view() : path.substr(end);
    if (segment == "/.") {
      if (is_last) made += '/';
    } else if (segment == "/..") {
      made.resize(made.empty() ? 0 : made.rfind('/'));
      if (is_last) made += '/';
    } else {
      made += segment;
    }
  }
  return made;
}

void merge_slashes(std::string& path) {
  size_t kept = 0;
  for (const char byte : path) {
    if (byte == '/' && kept > 0 && path[kept - 1] == '/') continue;
    path[kept++] = byte;
  }
  path.resize(kept);
}

// Whether anything in it could need a change.
bool is_clean(std::string_view path) {
  char before = 0;
  for (const char byte : path) {
    if (byte == '\\' || byte == '%' || byte == '\0') return false;
    if (before == '/' && (byte == '.' || byte == '/')) return false;
    before = byte;
  }
  return true;
}

}  // namespace

Normalized normalize_path(std::string_view path, PathRules rules, std::string& changed) {
  const size_t end = std::min(path.find_first_of("?#"), path.size());
  const std::string_view before_query = path.substr(0, end);
  if (rules == PathRules::kNone || !path.starts_with('/') || is_clean(before_query)) {
    return Normalized::kSame;
  }
  const bool decode_slashes = rules == PathRules::kDecodeAndMergeSlashes;
  const auto plain = decoded(before_query, decode_slashes);
  if (!plain) return Normalized::kRefused;
  changed = without_dots(*plain);
  if (rules != PathRules::kBase) merge_slashes(changed);
  if (changed == before_query) return Normalized::kSame;
  changed += path.substr(end);
  return Normalized::kChanged;
}

}  // namespace weft::routing
