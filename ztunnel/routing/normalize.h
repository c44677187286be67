#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace weft::routing {

// What is done to a path before anybody looks at it: routes and policies must see what the
// application will. meshConfig.pathNormalization's values.
enum class PathRules : uint8_t {
  kNone,
  kBase,                   // RFC 3986 section 6.2.2: dots and unreserved escapes; `\` is `/`
  kMergeSlashes,           // and `//` is `/`
  kDecodeAndMergeSlashes,  // and before that `%2F` and `%5C` are slashes
};

enum class Normalized : uint8_t {
  kSame,     // nothing to do: the common case, without an allocation
  kChanged,  // `changed` is the path now
  kRefused,  // a NUL in it, even escaped: 400
};

// Of a request's path, whose query stays as it is. What does not begin with a slash ("*") is left
// alone. Escapes that are not of two hexadecimal digits stay as they are; their case is kept.
// Repeating it changes nothing.
Normalized normalize_path(std::string_view path, PathRules rules, std::string& changed);

}  // namespace weft::routing
