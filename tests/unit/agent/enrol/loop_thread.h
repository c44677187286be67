#pragma once

#include "ztunnel/base/check.h"
#include "ztunnel/runtime/loop.h"

#include <future>
#include <memory>
#include <thread>
#include <utility>

namespace weft::enrol::testing {

// A loop on a thread of its own; the test's thread plays the peers.
class LoopThread {
 public:
  LoopThread() : loop_(*runtime::Loop::create_best()), thread_([this] { loop_->run(); }) {}
  ~LoopThread() {
    loop_->stop();
    thread_.join();
  }
  runtime::Loop& loop() { return *loop_; }

  // Runs `call` on the loop's thread and waits for its value.
  template <class Call>
  auto on_loop(Call call) {
    using Value = decltype(call());
    std::promise<Value> promise;
    loop_->post([&promise, &call] {
      if constexpr (std::is_void_v<Value>) {
        call();
        promise.set_value();
      } else {
        promise.set_value(call());
      }
    });
    return promise.get_future().get();
  }
  // Starts a task and waits for its end.
  void run(runtime::Task<void> task) {
    std::promise<void> promise;
    loop_->post([this, &promise, &task] { loop_->spawn(finish(std::move(task), promise)); });
    promise.get_future().get();
  }

 private:
  static runtime::Task<void> finish(runtime::Task<void> task, std::promise<void>& promise) {
    co_await std::move(task);
    promise.set_value();
  }

  std::unique_ptr<runtime::Loop> loop_;
  std::thread thread_;
};

}  // namespace weft::enrol::testing
