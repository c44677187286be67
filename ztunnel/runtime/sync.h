#pragma once

#include "ztunnel/base/check.h"
#include "ztunnel/runtime/task.h"

#include <coroutine>
#include <cstddef>
#include <deque>
#include <optional>
#include <utility>

// How tasks of one thread wait for each other. Nothing here is for two threads: across threads
// there is Loop::post and nothing else.

namespace weft::runtime {

// A flag that tasks wait for. set() lets all of them go on, in the order in which they came, before
// it returns; reset() makes later ones wait again. The awaiting frames must outlive the Event or be
// released by set() first.
class Event {
 public:
  Event() = default;
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  ~Event() { CHECK(first_ == nullptr); }

  bool is_set() const { return set_; }
  void set() {
    set_ = true;
    wake();
  }
  void reset() { set_ = false; }

  // Lives in the frame of the task that waits: waiting allocates nothing.
  struct Awaiter {
    Event& event;
    std::coroutine_handle<> waiter{};
    Awaiter* next = nullptr;

    bool await_ready() const noexcept { return event.set_; }
    void await_suspend(std::coroutine_handle<> handle) noexcept {
      waiter = handle;
      (event.first_ == nullptr ? event.first_ : event.last_->next) = this;
      event.last_ = this;
    }
    void await_resume() const noexcept {}
  };
  // Waits until the flag is set, or for the next wake(): look again at what you wait for.
  Awaiter wait() { return Awaiter{*this}; }

  // Lets the present waiters go on, without setting the flag.
  void wake() {
    Awaiter* waiting = std::exchange(first_, nullptr);
    while (waiting != nullptr) {
      // Its frame may be gone when resume() returns, and this Event with it.
      const std::coroutine_handle<> waiter = waiting->waiter;
      waiting = waiting->next;
      waiter.resume();
    }
  }

 private:
  bool set_ = false;
  Awaiter* first_ = nullptr;
  Awaiter* last_ = nullptr;
};

// A bounded queue between tasks of one thread. pop() waits for an element and returns nothing once
// the queue is closed and empty; push() waits for room and returns false once it is closed.
template <class T>
class Queue {
 public:
  explicit Queue(size_t capacity) : capacity_(capacity) {}

  Task<bool> push(T element) {
    while (elements_.size() >= capacity_ && !closed_) co_await room_.wait();
    if (closed_) co_return false;
    elements_.push_back(std::move(element));
    changed_.wake();
    co_return true;
  }
  // Without waiting; false where the queue is full or closed.
  bool try_push(T element) {
    if (closed_ || elements_.size() >= capacity_) return false;
    elements_.push_back(std::move(element));
    changed_.wake();
    return true;
  }
  Task<std::optional<T>> pop() {
    while (elements_.empty() && !closed_) co_await changed_.wait();
    if (elements_.empty()) co_return std::nullopt;
    std::optional<T> element(std::move(elements_.front()));
    elements_.pop_front();
    room_.wake();
    co_return element;
  }
  void close() {
    closed_ = true;
    changed_.wake();
    room_.wake();
  }
  size_t size() const { return elements_.size(); }

 private:
  size_t capacity_;
  bool closed_ = false;
  std::deque<T> elements_;
  Event changed_;
  Event room_;
};

// Tasks that somebody owns. join() waits until all have ended; the scope must be joined (or empty)
// when it is destroyed.
class TaskScope {
 public:
  TaskScope() = default;
  ~TaskScope() { CHECK(running_ == 0); }

  void spawn(Task<void> task) {
    ++running_;
    start(run(std::move(task)));
  }
  Task<void> join() {
    while (running_ > 0) co_await ended_.wait();
  }
  size_t running() const { return running_; }

 private:
  Task<void> run(Task<void> task) {
    co_await std::move(task);
    --running_;
    if (running_ == 0) ended_.wake();
  }

  size_t running_ = 0;
  Event ended_;
};

}  // namespace weft::runtime
