#pragma once

#include "ztunnel/base/result.h"

#include <cstddef>
#include <string>
#include <string_view>

namespace weft::dns {

// RFC 1035 section 3.1: a label's bytes, and a name's with all its length bytes.
constexpr size_t kLabelBytesMax = 63;
constexpr size_t kNameBytesMax = 255;

// A domain name as it travels, uncompressed: labels behind their lengths, the root's empty one
// last. Keeps the case in which it was written.
class Name {
 public:
  Name() : wire_(1, '\0') {}  // the root
  // "a.b" and "a.b." are the same; bytes are taken as they are, without escapes. kInvalid names the
  // bound that is passed.
  static Result<Name> parse(std::string_view text);

  // Puts a label of 1 to 63 bytes behind the others; false where the name has no room for it.
  bool append(std::string_view label);

  std::string_view wire() const { return wire_; }
  bool is_root() const { return wire_.size() == 1; }
  // "a.b", the root as ".". A dot or backslash within a label, and what is not printable ASCII,
  // stands as \DDD: two different names never have one text.
  std::string to_text() const;
  // The text in lower case: what tables are keyed by.
  std::string key() const;
  bool same_as(const Name& other) const;  // whatever the case

  bool operator==(const Name&) const = default;

 private:
  std::string wire_;
};

}  // namespace weft::dns
