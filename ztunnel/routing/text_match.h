#pragma once

#include "proto/route.pb.h"
#include "ztunnel/base/result.h"

#include <memory>
#include <string>
#include <string_view>

namespace re2 {
class RE2;
}

namespace weft::routing {

// The longest pattern that is compiled: CRDs allow 1024 characters in a path, 4096 in a header's.
inline constexpr size_t kRegexBytesMax = 4096;

// RE2: linear time, whatever the pattern and the text. Matching shares a cache of states between
// workers behind a reader's lock of RE2's own.
using Regex = std::shared_ptr<const re2::RE2>;

Result<Regex> compile_regex(const std::string& pattern);
bool matches_whole(const Regex& regex, std::string_view text);

// One compiled StringMatch.
class TextMatch {
 public:
  // One of no type is of presence.
  static Result<TextMatch> compile(const weft::route::StringMatch& match);

  bool matches(std::string_view text) const;
  bool is_presence() const { return kind_ == Kind::kPresent; }

 private:
  enum class Kind { kExact, kPrefix, kRegex, kPresent };
  Kind kind_ = Kind::kPresent;
  std::string text_;
  Regex regex_;
};

}  // namespace weft::routing
