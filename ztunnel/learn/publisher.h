#pragma once

#include "ztunnel/runtime/loop.h"

#include <algorithm>
#include <chrono>
#include <functional>
#include <utility>

namespace weft::learn {

// When the workers get a new State. The first change after a quiet time reaches them at once; of a
// storm of changes they get what has come together, 50 times a second, or less often where making a
// State takes long (thousands of endpoints changed): a tenth of our time goes into it at most.
// What decides who may connect waits for less. Belongs to the learner's thread.
class Publisher {
 public:
  static constexpr std::chrono::milliseconds kGap{20};
  static constexpr std::chrono::milliseconds kGapMax{500};
  static constexpr int kIdleFactor = 10;
  // A policy is in force 100 ms after control knew of it, whatever else goes on.
  static constexpr std::chrono::milliseconds kUrgentGap{2};
  static constexpr std::chrono::milliseconds kUrgentGapMax{50};

  Publisher(runtime::Loop& loop, std::function<void()> publish)
      : loop_(loop), publish_(std::move(publish)) {}
  ~Publisher() { loop_.unschedule(timer_); }
  Publisher(const Publisher&) = delete;
  Publisher& operator=(const Publisher&) = delete;

  void changed(bool urgent) {
    const auto due = last_ + (urgent ? std::clamp<Duration>(cost_, kUrgentGap, kUrgentGapMax)
                                     : std::clamp<Duration>(cost_ * kIdleFactor, kGap, kGapMax));
    if (due <= loop_.now()) return publish_now();
    if (timer_ != 0 && due_ <= due) return;
    loop_.unschedule(timer_);
    due_ = due;
    timer_ = loop_.schedule(std::chrono::ceil<std::chrono::milliseconds>(due - loop_.now()),
                            [this] { publish_now(); });
  }
  void publish_now() {
    loop_.unschedule(std::exchange(timer_, 0));
    const auto began = std::chrono::steady_clock::now();
    publish_();
    last_ = std::chrono::steady_clock::now();
    cost_ = last_ - began;
  }

 private:
  using Duration = std::chrono::steady_clock::duration;

  runtime::Loop& loop_;
  std::function<void()> publish_;
  std::chrono::steady_clock::time_point last_;
  std::chrono::steady_clock::time_point due_;
  Duration cost_{0};  // of the last one
  runtime::TimerId timer_ = 0;
};

}  // namespace weft::learn
