#pragma once

#include "ztunnel/runtime/loop.h"
#include "ztunnel/runtime/sync.h"

#include <algorithm>
#include <chrono>
#include <functional>

namespace weft::runtime {

// A sleep that can be ended early. A wake() that comes while nobody waits ends the next wait.
class Pause {
 public:
  explicit Pause(Loop& loop) : loop_(loop) {}

  Task<void> wait(std::chrono::milliseconds limit) {
    const TimerId timer = loop_.schedule(limit, [this] { woken_.set(); });
    co_await woken_.wait();
    loop_.unschedule(timer);
    woken_.reset();
  }
  void wake() { woken_.set(); }

 private:
  Loop& loop_;
  Event woken_;
};

// How long to wait before the next try: doubles from `first` up to `max`, less a random part so
// that a thousand nodes do not come back at one moment.
class Backoff {
 public:
  // A number from 0 to below 1, injected so that tests are deterministic.
  using Random = std::function<double()>;

  Backoff(std::chrono::milliseconds first, std::chrono::milliseconds max, double jitter,
          Random random)
      : first_(first), max_(max), jitter_(jitter), random_(std::move(random)), next_(first) {}

  std::chrono::milliseconds next() {
    const auto now = next_;
    next_ = std::min(max_, next_ * 2);
    return std::chrono::milliseconds(
        static_cast<int64_t>(static_cast<double>(now.count()) * (1.0 - jitter_ * random_())));
  }
  void reset() { next_ = first_; }

 private:
  std::chrono::milliseconds first_;
  std::chrono::milliseconds max_;
  double jitter_;
  Random random_;
  std::chrono::milliseconds next_;
};

}  // namespace weft::runtime
