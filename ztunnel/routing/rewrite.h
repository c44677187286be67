#pragma once

#include "proto/route.pb.h"
#include "ztunnel/base/result.h"
#include "ztunnel/routing/text_match.h"

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace weft::routing {

// The longest path that a rewrite may make: as much as a head may hold at all, so that a pattern
// that matches everywhere cannot turn one path into megabytes.
inline constexpr size_t kRewrittenBytesMax = size_t{64} * 1024;

// One compiled Rewrite.
class Rewrite {
 public:
  Rewrite() = default;  // of nothing
  // kInvalid names the field: a bad regular expression, a group that it lacks, a space or a control
  // character.
  static Result<Rewrite> compile(const weft::route::Rewrite& config);

  bool changes_path() const { return kind_ != Kind::kNone; }
  // The path that goes on, with the query that came; always begins with a slash. `prefix_bytes` is
  // a Match's. kLimit: longer than kRewrittenBytesMax.
  Result<std::string> path(std::string_view path, std::optional<size_t> prefix_bytes) const;
  const std::string& authority() const { return authority_; }  // empty: as it came

 private:
  enum class Kind { kNone, kPrefix, kSegmentPrefix, kFull, kRegex };
  Result<std::string> replaced_everywhere(std::string_view path) const;

  Kind kind_ = Kind::kNone;
  std::string text_;  // what stands instead; with \1 where it is of a regular expression
  Regex regex_;
  std::string authority_;
};

}  // namespace weft::routing
