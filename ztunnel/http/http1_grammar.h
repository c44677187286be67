#pragma once

#include <algorithm>
#include <array>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>

// The characters of HTTP/1.1 (RFC 9110, 5.6; RFC 9112, 5): one strict grammar for our own endpoints
// and for the data path.

namespace weft::http::http1 {

// A browser sends about twenty, a mesh's proxies add a dozen.
constexpr size_t kFieldsMax = 100;

// Why a message is not understood. `status` is what a server answers.
struct Refusal {
  int status = 400;
  std::string reason;
};

template <class T>
using Parsed = std::expected<T, Refusal>;

inline std::unexpected<Refusal> refuse(int status, std::string reason) {
  return std::unexpected(Refusal{status, std::move(reason)});
}

// Of each byte that a token may have: its lower case; of any other 0.
inline constexpr std::array<char, 256> kTokenLower = [] {
  std::array<char, 256> table{};
  for (char c = '0'; c <= '9'; ++c) table[static_cast<size_t>(c)] = c;
  for (char c = 'a'; c <= 'z'; ++c) {
    table[static_cast<size_t>(c)] = c;
    table[static_cast<size_t>(c - 32)] = c;
  }
  for (const char c : std::string_view("!#$%&'*+-.^_`|~")) table[static_cast<size_t>(c)] = c;
  return table;
}();

inline char lower_in_token(char c) { return kTokenLower[static_cast<unsigned char>(c)]; }

inline bool is_token(std::string_view text) {
  return !text.empty() &&
         std::ranges::all_of(text, [](char c) { return lower_in_token(c) != '\0'; });
}

// Whether a field's value may be this: no control character but a tab. Compiles to vector code.
inline bool is_field_text(std::string_view text) {
  unsigned wrong = 0;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    wrong |= static_cast<unsigned>(byte < 0x20) & static_cast<unsigned>(byte != '\t');
    wrong |= static_cast<unsigned>(byte == 0x7f);
  }
  return wrong == 0;
}

// Whether a request's target may be this: printable ASCII, without a fragment.
inline bool is_target_text(std::string_view text) {
  unsigned wrong = 0;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    wrong |= static_cast<unsigned>(byte <= 0x20) | static_cast<unsigned>(byte >= 0x7f);
    wrong |= static_cast<unsigned>(byte == '#');
  }
  return wrong == 0;
}

inline char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }

inline bool equal_in_any_case(std::string_view a, std::string_view b) {
  return std::ranges::equal(a, b, {}, lower, lower);
}

inline std::string_view trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

// Digits only, all of the text.
template <class T>
std::optional<T> parse_number(std::string_view text, int base) {
  T number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number, base);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

}  // namespace weft::http::http1
