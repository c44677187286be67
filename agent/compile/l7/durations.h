#pragma once

#include "agent/objects/rules.h"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <string_view>

namespace weft::l7 {

// Milliseconds of a duration as rules write it ("1.5s"); part of one counts whole, so that what is
// written never becomes 0, which would mean none. 0 where there is none, or it is negative.
inline uint32_t to_ms(std::string_view text) {
  const auto duration = text.empty() ? std::nullopt : objects::parse_duration(text);
  if (!duration || duration->count() <= 0) return 0;
  const auto ms = std::chrono::ceil<std::chrono::milliseconds>(*duration).count();
  return static_cast<uint32_t>(std::min<int64_t>(ms, std::numeric_limits<uint32_t>::max()));
}

}  // namespace weft::l7
