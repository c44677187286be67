#pragma once

#include "ztunnel/telemetry/request_metrics.h"
#include "ztunnel/telemetry/shard.h"

#include <deque>
#include <mutex>
#include <unordered_map>

// Internal to the room.

namespace weft::telemetry {

// As Shard::Impl: only the owner adds, and under the mutex.
struct RequestShard::Impl {
  std::mutex mutex;
  std::unordered_map<std::string, std::unique_ptr<detail::RequestSeries>, TextHash, std::equal_to<>>
      series;       // by what their labels are made of
  std::string key;  // the owner's scratch
  detail::Cell refused;
};

// Appends the sums of all shards, by labels.
void append_requests(std::string& out, const std::vector<const detail::RequestSeries*>& series);

}  // namespace weft::telemetry
