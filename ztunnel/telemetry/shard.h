#pragma once

#include "ztunnel/telemetry/metrics.h"

#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>

namespace weft::telemetry {

struct TextHash {
  using is_transparent = void;
  size_t operator()(std::string_view text) const { return std::hash<std::string_view>{}(text); }
};

// Only the owner adds to `series`, and under the mutex; so it may look without, while a scrape
// reads under the mutex. Nothing is ever taken out: pointers and keys stay.
struct Shard::Impl {
  using SeriesMap = std::unordered_map<std::string, std::unique_ptr<detail::ConnectionSeries>,
                                       TextHash, std::equal_to<>>;
  std::mutex mutex;
  SeriesMap series;
  std::string key;  // the owner's scratch
  detail::Cell refused;
};

}  // namespace weft::telemetry
