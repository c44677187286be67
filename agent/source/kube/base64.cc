#include "agent/source/kube/base64.h"

#include <array>
#include <cstdint>

namespace weft::source::kube {
namespace {

int value_of(char c) {
  if (c >= 'A' && c <= 'Z') return c - 'A';
  if (c >= 'a' && c <= 'z') return c - 'a' + 26;
  if (c >= '0' && c <= '9') return c - '0' + 52;
  if (c == '+') return 62;
  return c == '/' ? 63 : -1;
}

}  // namespace

Result<std::string> decode_base64(std::string_view text) {
  std::string bytes;
  uint32_t bits = 0;
  size_t digits = 0;
  size_t padding = 0;
  for (const char c : text) {
    if (c == '\n' || c == '\r' || c == ' ') continue;
    if (c == '=') {
      ++padding;
      continue;
    }
    const int value = value_of(c);
    if (value < 0 || padding > 0) return fail(Code::kInvalid, "not base64");
    bits = bits << 6U | static_cast<uint32_t>(value);
    if (++digits % 4 != 0) continue;
    for (const unsigned shift : {16U, 8U, 0U}) bytes += static_cast<char>(bits >> shift);
    bits = 0;
  }
  const size_t left = digits % 4;
  if (left == 1 || (left == 0 ? padding > 0 : padding != 4 - left)) {
    return fail(Code::kInvalid, "not base64");
  }
  if (left >= 2) bytes += static_cast<char>(bits >> (left == 2 ? 4U : 10U));
  if (left == 3) bytes += static_cast<char>(bits >> 2U);
  return bytes;
}

}  // namespace weft::source::kube
