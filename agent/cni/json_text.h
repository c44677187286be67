#pragma once

#include "ztunnel/base/result.h"

#include <string>
#include <string_view>
#include <vector>

// Where the parts of a JSON text stand, as they are written. The one reader of JSON beside
// agent/objects: weft-cni is linked statically and hands on a part of what it was given untouched,
// and simdjson does neither. Pure; strict (RFC 8259); what comes out are views into the input.

namespace weft::cni {

// Deeper than any CNI configuration; bounds the recursion.
constexpr int kJsonDepthMax = 32;

struct JsonMember {
  std::string name;
  std::string_view value;
};

// The members of an object. kInvalid: it is none, has something behind it or one name twice; the
// error says where.
Result<std::vector<JsonMember>> json_members(std::string_view text);
// The elements of a list.
Result<std::vector<std::string_view>> json_items(std::string_view text);
// The value of a string.
Result<std::string> json_string(std::string_view text);
// `text` as a string, with its quotes. Bytes that are no UTF-8 stay as they are.
std::string json_quoted(std::string_view text);

}  // namespace weft::cni
