#include "ztunnel/waypoint/request_ids.h"

namespace weft::waypoint {

std::string_view RequestIds::next() {
  constexpr std::string_view kDigits = "0123456789abcdef";
  constexpr size_t kVersion = 14;
  constexpr size_t kVariant = 19;
  uint64_t bits = 0;
  size_t left = 0;
  for (size_t i = 0; i < text_.size(); ++i) {
    if (left == 0) {
      bits = random_();
      left = 16;
    }
    uint64_t digit = bits & 15U;
    bits >>= 4U;
    --left;
    if (i == kVersion) digit = 4;
    if (i == kVariant) digit = 8U | (digit & 3U);
    text_[i] = kDigits[digit];
  }
  for (const size_t dash : {8U, 13U, 18U, 23U}) text_[dash] = '-';
  return {text_.data(), text_.size()};
}

}  // namespace weft::waypoint
