#pragma once

#include "ztunnel/runtime/loop.h"

#include <chrono>
#include <functional>
#include <utility>

namespace weft::learn {

// When the workers get a new State. The first change after a quiet time reaches them at once; of a
// storm of changes they get what has come together, so that 10 000 updates a second cost them, and
// us, 50 States. What decides who may connect waits a tenth of that. Belongs to the learner's
// thread.
class Publisher {
 public:
  static constexpr std::chrono::milliseconds kGap{20};
  // A policy is in force 100 ms after control knew of it, whatever else goes on.
  static constexpr std::chrono::milliseconds kUrgentGap{2};

  Publisher(runtime::Loop& loop, std::function<void()> publish)
      : loop_(loop), publish_(std::move(publish)) {}
  ~Publisher() { loop_.unschedule(timer_); }
  Publisher(const Publisher&) = delete;
  Publisher& operator=(const Publisher&) = delete;

  void changed(bool urgent) {
    const auto due = last_ + (urgent ? kUrgentGap : kGap);
    if (due <= loop_.now()) return publish_now();
    if (timer_ != 0 && due_ <= due) return;
    loop_.unschedule(timer_);
    due_ = due;
    timer_ = loop_.schedule(std::chrono::ceil<std::chrono::milliseconds>(due - loop_.now()),
                            [this] { publish_now(); });
  }
  void publish_now() {
    loop_.unschedule(std::exchange(timer_, 0));
    last_ = loop_.now();
    publish_();
  }

 private:
  runtime::Loop& loop_;
  std::function<void()> publish_;
  std::chrono::steady_clock::time_point last_;
  std::chrono::steady_clock::time_point due_;
  runtime::TimerId timer_ = 0;
};

}  // namespace weft::learn
