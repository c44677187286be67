#include "ztunnel/routing/rewrite.h"

#include "ztunnel/routing/conditions.h"

#include <re2/re2.h>

#include <algorithm>
#include <utility>
#include <vector>

namespace weft::routing {
namespace {

// What may stand in a request line: a space or a line's end would make it another one.
Result<void> check_visible(std::string_view text, std::string_view field) {
  const bool visible = std::ranges::all_of(
      text, [](char c) { return static_cast<unsigned char>(c) > ' ' && c != 0x7f; });
  if (visible) return {};
  return fail(Code::kInvalid, std::string(field) + " holds a space or a control character");
}

}  // namespace

Result<Rewrite> Rewrite::compile(const weft::route::Rewrite& config) {
  Rewrite made;
  switch (config.path_case()) {
    case weft::route::Rewrite::kPrefix:
      made.kind_ = Kind::kPrefix;
      made.text_ = config.prefix();
      break;
    case weft::route::Rewrite::kSegmentPrefix:
      made.kind_ = Kind::kSegmentPrefix;
      made.text_ = config.segment_prefix();
      while (made.text_.ends_with('/')) made.text_.pop_back();
      break;
    case weft::route::Rewrite::kFull:
      made.kind_ = Kind::kFull;
      made.text_ = config.full();
      break;
    case weft::route::Rewrite::kRegex: {
      made.kind_ = Kind::kRegex;
      made.regex_ = TRY(compile_regex(config.regex().match()));
      made.text_ = config.regex().substitution();
      std::string why;
      if (!made.regex_->CheckRewriteString(made.text_, &why)) {
        return fail(Code::kInvalid, "substitution \"" + made.text_ + "\": " + why);
      }
      break;
    }
    case weft::route::Rewrite::PATH_NOT_SET:
      break;
  }
  TRY(check_visible(made.text_, "path"));
  TRY(check_visible(config.authority(), "authority"));
  made.authority_ = config.authority();
  return made;
}

Result<std::string> Rewrite::path(std::string_view path, std::optional<size_t> prefix_bytes) const {
  const std::string_view plain = without_query(path);
  const std::string_view query = path.substr(plain.size());
  const std::string_view behind =
      plain.substr(std::min(prefix_bytes.value_or(plain.size()), plain.size()));
  std::string made;
  switch (kind_) {
    case Kind::kNone:
      return std::string(path);
    case Kind::kPrefix:
    case Kind::kSegmentPrefix:
      made = text_ + std::string(behind);
      break;
    case Kind::kFull:
      made = text_;
      break;
    case Kind::kRegex:
      made = TRY(replaced_everywhere(plain));
      break;
  }
  if (!made.starts_with('/')) made.insert(0, 1, '/');
  // A text with a query of its own stands instead of the one that came.
  if (!made.contains('?')) made += query;
  if (made.size() > kRewrittenBytesMax) {
    return fail(Code::kLimit, "rewritten path is longer than 64 KiB");
  }
  return made;
}

// RE2::GlobalReplace with a bound on what comes out.
Result<std::string> Rewrite::replaced_everywhere(std::string_view path) const {
  std::string made;
  std::vector<re2::StringPiece> groups(static_cast<size_t>(1 + re2::RE2::MaxSubmatch(text_)));
  const re2::StringPiece text(path.data(), path.size());
  size_t at = 0;
  size_t end_of_last = std::string_view::npos;
  while (at <= path.size()) {
    if (!regex_->Match(text, at, path.size(), re2::RE2::UNANCHORED, groups.data(),
                       static_cast<int>(groups.size()))) {
      break;
    }
    const auto begin = static_cast<size_t>(groups[0].data() - path.data());
    made += path.substr(at, begin - at);
    at = begin;
    // An empty match where the last one ended is none: otherwise ".*" would match twice.
    const bool is_repeat = groups[0].empty() && begin == end_of_last;
    if (!is_repeat) regex_->Rewrite(&made, text_, groups.data(), static_cast<int>(groups.size()));
    at += groups[0].size();
    end_of_last = at;
    if (groups[0].empty()) {
      if (at < path.size()) made += path[at];
      ++at;
    }
    if (made.size() > kRewrittenBytesMax) {
      return fail(Code::kLimit, "rewritten path is longer than 64 KiB");
    }
  }
  if (at < path.size()) made += path.substr(at);
  return made;
}

}  // namespace weft::routing
