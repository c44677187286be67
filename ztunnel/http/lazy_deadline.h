#pragma once

#include "ztunnel/runtime/loop.h"

#include <chrono>
#include <functional>

namespace weft::http {

// A deadline that is moved with every message of a connection: moving it later, or lifting it,
// costs a store, because the timer that is armed looks again when it fires.
class LazyDeadline {
 public:
  LazyDeadline(runtime::Loop& loop, std::move_only_function<void()> call)
      : loop_(loop), call_(std::move(call)) {}
  LazyDeadline(const LazyDeadline&) = delete;
  LazyDeadline& operator=(const LazyDeadline&) = delete;
  ~LazyDeadline() { loop_.unschedule(timer_); }

  void set(std::chrono::milliseconds limit) {
    due_ = loop_.now() + limit;
    if (timer_ != 0 && armed_for_ <= due_) return;
    loop_.unschedule(timer_);
    arm();
  }
  void lift() { due_ = Time::max(); }

 private:
  using Time = std::chrono::steady_clock::time_point;

  void arm() {
    armed_for_ = due_;
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(due_ - loop_.now());
    timer_ = loop_.schedule(left, [this] { fire(); });
  }
  void fire() {
    timer_ = 0;
    if (due_ == Time::max()) return;
    if (loop_.now() < due_) return arm();
    lift();
    call_();
  }

  runtime::Loop& loop_;
  std::move_only_function<void()> call_;
  Time due_ = Time::max();
  Time armed_for_ = Time::max();
  runtime::TimerId timer_ = 0;
};

}  // namespace weft::http
