#include "agent/cni/json_text.h"

#include <algorithm>
#include <cstdint>

namespace weft::cni {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }

int hex_digit(char c) {
  if (is_digit(c)) return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

void append_utf8(uint32_t point, std::string& out) {
  const auto put = [&](uint32_t byte) { out += static_cast<char>(byte); };
  if (point < 0x80) {
    put(point);
  } else if (point < 0x800) {
    put(0xc0 | point >> 6);
    put(0x80 | (point & 0x3f));
  } else if (point < 0x10000) {
    put(0xe0 | point >> 12);
    put(0x80 | (point >> 6 & 0x3f));
    put(0x80 | (point & 0x3f));
  } else {
    put(0xf0 | point >> 18);
    put(0x80 | (point >> 12 & 0x3f));
    put(0x80 | (point >> 6 & 0x3f));
    put(0x80 | (point & 0x3f));
  }
}

class Scanner {
 public:
  explicit Scanner(std::string_view text) : text_(text) {}

  Fail wrong(std::string_view expected) const {
    return fail(Code::kInvalid,
                "byte " + std::to_string(at_) + ": expected " + std::string(expected));
  }
  void skip_space() {
    while (at_ < text_.size() && std::string_view(" \t\r\n").contains(text_[at_])) ++at_;
  }
  bool take(char c) {
    skip_space();
    if (at_ == text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  Result<void> expect(char c) {
    if (take(c)) return {};
    return wrong(std::string("'") + c + "'");
  }
  Result<void> expect_end() {
    skip_space();
    if (at_ == text_.size()) return {};
    return wrong("nothing more");
  }

  // Goes past one value and returns it as it is written.
  Result<std::string_view> value(int depth = 0) {
    skip_space();
    const size_t begin = at_;
    if (depth > kJsonDepthMax) return wrong("less nesting");
    if (at_ == text_.size()) return wrong("a value");
    switch (text_[at_]) {
      case '{':
        TRY(object([&](std::string, std::string_view) { return Result<void>(); }, depth));
        break;
      case '[':
        TRY(list([](std::string_view) {}, depth));
        break;
      case '"':
        TRY(string());
        break;
      default:
        TRY(plain());
    }
    return text_.substr(begin, at_ - begin);
  }

  template <class Take>  // Result<void>(std::string name, std::string_view value)
  Result<void> object(Take take_member, int depth) {
    TRY(expect('{'));
    if (take('}')) return {};
    do {
      skip_space();
      std::string name = TRY(string());
      TRY(expect(':'));
      const std::string_view written = TRY(value(depth + 1));
      TRY(take_member(std::move(name), written));
    } while (take(','));
    return expect('}');
  }

  template <class Take>  // void(std::string_view value)
  Result<void> list(Take take_item, int depth) {
    TRY(expect('['));
    if (take(']')) return {};
    do {
      take_item(TRY(value(depth + 1)));
    } while (take(','));
    return expect(']');
  }

  Result<std::string> string() {
    if (at_ == text_.size() || text_[at_] != '"') return wrong("a string");
    ++at_;
    std::string out;
    while (at_ < text_.size() && text_[at_] != '"') {
      const char c = text_[at_];
      if (static_cast<unsigned char>(c) < 0x20) return wrong("no control character");
      ++at_;
      if (c == '\\') {
        TRY(escape(out));
      } else {
        out += c;
      }
    }
    if (at_ == text_.size()) return wrong("the end of a string");
    ++at_;
    return out;
  }

 private:
  Result<uint32_t> code_unit() {
    uint32_t unit = 0;
    for (int i = 0; i < 4; ++i, ++at_) {
      const int digit = at_ < text_.size() ? hex_digit(text_[at_]) : -1;
      if (digit < 0) return wrong("four hexadecimal digits");
      unit = unit << 4 | static_cast<uint32_t>(digit);
    }
    return unit;
  }

  Result<void> escape(std::string& out) {
    constexpr std::string_view kEscapes = "\"\\/bfnrt";
    constexpr std::string_view kMeanings = "\"\\/\b\f\n\r\t";
    const char c = at_ < text_.size() ? text_[at_] : '\0';
    const size_t simple = kEscapes.find(c);
    if (c != 'u' && (c == '\0' || simple == std::string_view::npos)) return wrong("an escape");
    ++at_;
    if (c != 'u') {
      out += kMeanings[simple];
      return {};
    }
    uint32_t point = TRY(code_unit());
    if (point >= 0xd800 && point < 0xdc00 && text_.substr(at_).starts_with("\\u")) {
      at_ += 2;
      const uint32_t low = TRY(code_unit());
      if (low < 0xdc00 || low > 0xdfff) return wrong("the second half of a pair before this");
      point = 0x10000 + ((point - 0xd800) << 10) + (low - 0xdc00);
    }
    if (point >= 0xd800 && point <= 0xdfff) return wrong("a whole pair of surrogates before this");
    append_utf8(point, out);
    return {};
  }

  size_t digits() {
    const size_t begin = at_;
    while (at_ < text_.size() && is_digit(text_[at_])) ++at_;
    return at_ - begin;
  }
  bool skip(char c) {
    const bool there = at_ < text_.size() && text_[at_] == c;
    if (there) ++at_;
    return there;
  }

  // A number, or one of three words.
  Result<void> plain() {
    for (const std::string_view word : {"true", "false", "null"}) {
      if (!text_.substr(at_).starts_with(word)) continue;
      at_ += word.size();
      return {};
    }
    skip('-');
    if (!skip('0') && digits() == 0) return wrong("a value");
    if (skip('.') && digits() == 0) return wrong("a digit");
    if (skip('e') || skip('E')) {
      if (!skip('+')) skip('-');
      if (digits() == 0) return wrong("a digit");
    }
    return {};
  }

  std::string_view text_;
  size_t at_ = 0;
};

}  // namespace

Result<std::vector<JsonMember>> json_members(std::string_view text) {
  Scanner scanner(text);
  std::vector<JsonMember> members;
  const auto take = [&](std::string name, std::string_view value) -> Result<void> {
    if (std::ranges::find(members, name, &JsonMember::name) != members.end()) {
      return scanner.wrong("the name \"" + name + "\" once only, before this");
    }
    members.push_back({std::move(name), value});
    return {};
  };
  TRY(scanner.object(take, 0));
  TRY(scanner.expect_end());
  return members;
}

Result<std::vector<std::string_view>> json_items(std::string_view text) {
  Scanner scanner(text);
  std::vector<std::string_view> items;
  TRY(scanner.list([&](std::string_view item) { items.push_back(item); }, 0));
  TRY(scanner.expect_end());
  return items;
}

Result<std::string> json_string(std::string_view text) {
  Scanner scanner(text);
  scanner.skip_space();
  std::string value = TRY(scanner.string());
  TRY(scanner.expect_end());
  return value;
}

std::string json_quoted(std::string_view text) {
  constexpr const char* kHex = "0123456789abcdef";
  std::string out = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (byte < 0x20 || byte == 0x7f) {
      out += "\\u00";
      out += kHex[byte >> 4];
      out += kHex[byte & 0xf];
    } else {
      out += c;
    }
  }
  return out + "\"";
}

}  // namespace weft::cni
