#include "ztunnel/routing/text_match.h"

#include <re2/re2.h>

namespace weft::routing {

Result<Regex> compile_regex(const std::string& pattern) {
  if (pattern.size() > kRegexBytesMax) {
    return fail(Code::kInvalid, "regular expression of " + std::to_string(pattern.size()) +
                                    " bytes: at most " + std::to_string(kRegexBytesMax));
  }
  auto regex = std::make_shared<const re2::RE2>(pattern, re2::RE2::Quiet);
  if (!regex->ok()) {
    return fail(Code::kInvalid, "regular expression \"" + pattern + "\": " + regex->error());
  }
  return regex;
}

bool matches_whole(const Regex& regex, std::string_view text) {
  return re2::RE2::FullMatch(re2::StringPiece(text.data(), text.size()), *regex);
}

Result<TextMatch> TextMatch::compile(const weft::route::StringMatch& match) {
  TextMatch made;
  switch (match.type_case()) {
    case weft::route::StringMatch::kExact:
      made.kind_ = Kind::kExact;
      made.text_ = match.exact();
      break;
    case weft::route::StringMatch::kPrefix:
      made.kind_ = Kind::kPrefix;
      made.text_ = match.prefix();
      break;
    case weft::route::StringMatch::kRegex:
      made.kind_ = Kind::kRegex;
      made.regex_ = TRY(compile_regex(match.regex()));
      break;
    case weft::route::StringMatch::kPresent:
      if (!match.present()) return fail(Code::kInvalid, "present must be true or left out");
      break;
    case weft::route::StringMatch::TYPE_NOT_SET:
      break;
  }
  return made;
}

bool TextMatch::matches(std::string_view text) const {
  switch (kind_) {
    case Kind::kExact:
      return text == text_;
    case Kind::kPrefix:
      return text.starts_with(text_);
    case Kind::kRegex:
      return matches_whole(regex_, text);
    case Kind::kPresent:
      return true;
  }
  return false;
}

}  // namespace weft::routing
