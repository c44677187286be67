#pragma once

#include "proto/route.pb.h"

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <utility>

namespace weft::waypoint {

// One thing of which there may be so many; given back when it goes.
class Share {
 public:
  Share() = default;
  Share(Share&& other) noexcept : counter_(std::exchange(other.counter_, nullptr)) {}
  Share& operator=(Share&& other) noexcept {
    std::swap(counter_, other.counter_);
    return *this;
  }
  ~Share() {
    if (counter_ != nullptr) counter_->fetch_sub(1, std::memory_order_relaxed);
  }
  explicit operator bool() const { return counter_ != nullptr; }

  // None where there are `most` already; 0: no limit.
  static Share take(std::atomic<uint32_t>& counter, uint32_t most) {
    const uint32_t before = counter.fetch_add(1, std::memory_order_relaxed);
    Share taken(counter);
    if (most != 0 && before >= most) return {};
    return taken;
  }

 private:
  explicit Share(std::atomic<uint32_t>& counter) : counter_(&counter) {}
  std::atomic<uint32_t>* counter_ = nullptr;
};

// What a destination has in use, over all workers of a process: circuit breaking counts here. Who
// holds a Share keeps it alive.
struct Usage {
  std::atomic<uint32_t> connections{0};
  std::atomic<uint32_t> pending{0};   // requests that wait for a connection
  std::atomic<uint32_t> requests{0};  // under way
  std::atomic<uint32_t> retries{0};
};

// How many retries may run at once: a part of what runs and waits where there is a budget, else a
// fixed number. 0: any.
inline uint32_t retries_max(const weft::route::Limits& limits, const Usage& usage) {
  if (limits.retry_budget_percent() == 0) return limits.retries();
  constexpr uint32_t kMinimum = 3;  // Envoy's, where the policy says nothing
  const uint64_t busy = uint64_t{usage.requests.load(std::memory_order_relaxed)} +
                        usage.pending.load(std::memory_order_relaxed);
  const uint64_t part = busy * limits.retry_budget_percent() / 100;
  const uint32_t least =
      limits.retry_budget_minimum() == 0 ? kMinimum : limits.retry_budget_minimum();
  return static_cast<uint32_t>(std::clamp<uint64_t>(part, least, UINT32_MAX));
}

}  // namespace weft::waypoint
