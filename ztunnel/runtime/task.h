#pragma once

#include "ztunnel/base/check.h"
#include "ztunnel/runtime/frame_pool.h"

#include <coroutine>
#include <exception>
#include <optional>
#include <type_traits>
#include <utility>

// Task<T>: a coroutine that starts when it is awaited and has exactly one owner.
//
// - Lazy: calling a coroutine function runs none of it; `co_await std::move(task)` or Loop::spawn
// does.
// - A started task runs to its end: it may not be destroyed while it is suspended. Whoever wants it
// to
//   stop aborts what it waits for (ByteStream::abort, Listener::close) and joins it (TaskScope).
// - It resumes on the thread of the loop that it awaits; tasks never move between threads.
// - Parameters are taken by value, or by reference to something that the caller keeps alive past
// the
//   co_await. No capturing lambda is a coroutine.
// - Exceptions do not cross: one that escapes ends the process.

namespace weft::runtime {

template <class T = void>
class Task;

namespace detail {

struct FinalAwaiter {
  bool await_ready() const noexcept { return false; }
  template <class Promise>
  std::coroutine_handle<> await_suspend(std::coroutine_handle<Promise> finished) noexcept {
    return finished.promise().continuation;
  }
  void await_resume() const noexcept {}
};

struct PromiseBase {
  std::coroutine_handle<> continuation = std::noop_coroutine();

  std::suspend_always initial_suspend() const noexcept { return {}; }
  FinalAwaiter final_suspend() const noexcept { return {}; }
  [[noreturn]] void unhandled_exception() const noexcept { std::terminate(); }

  static void* operator new(size_t bytes) { return allocate_frame(bytes); }
  static void operator delete(void* frame, size_t bytes) noexcept { free_frame(frame, bytes); }
};

template <class T>
struct Promise : PromiseBase {
  std::optional<T> value;

  Task<T> get_return_object();
  template <class U>
  void return_value(U&& result) {
    value.emplace(std::forward<U>(result));
  }
  T take() { return std::move(*value); }
};

template <>
struct Promise<void> : PromiseBase {
  Task<void> get_return_object();
  void return_void() const noexcept {}
  void take() const noexcept {}
};

}  // namespace detail

template <class T>
class [[nodiscard]] Task {
 public:
  using promise_type = detail::Promise<T>;
  using Handle = std::coroutine_handle<promise_type>;

  explicit Task(Handle handle) : handle_(handle) {}
  Task(Task&& other) noexcept : handle_(std::exchange(other.handle_, {})) {}
  Task& operator=(Task&&) = delete;
  ~Task() {
    if (handle_) handle_.destroy();
  }

  bool await_ready() const noexcept { return false; }
  std::coroutine_handle<> await_suspend(std::coroutine_handle<> waiter) noexcept {
    handle_.promise().continuation = waiter;
    return handle_;
  }
  T await_resume() { return handle_.promise().take(); }

 private:
  Handle handle_;
};

namespace detail {

template <class T>
Task<T> Promise<T>::get_return_object() {
  return Task<T>(std::coroutine_handle<Promise<T>>::from_promise(*this));
}

inline Task<void> Promise<void>::get_return_object() {
  return Task<void>(std::coroutine_handle<Promise<void>>::from_promise(*this));
}

// A coroutine that nobody awaits: it frees itself at its end.
struct Detached {
  struct promise_type {
    Detached get_return_object() const noexcept { return {}; }
    std::suspend_never initial_suspend() const noexcept { return {}; }
    std::suspend_never final_suspend() const noexcept { return {}; }
    void return_void() const noexcept {}
    [[noreturn]] void unhandled_exception() const noexcept { std::terminate(); }
    static void* operator new(size_t bytes) { return allocate_frame(bytes); }
    static void operator delete(void* frame, size_t bytes) noexcept { free_frame(frame, bytes); }
  };
};

inline Detached run_detached(Task<void> task) { co_await std::move(task); }

}  // namespace detail

// Starts a task at once on this thread, up to its first suspension; it frees itself when it ends.
inline void start(Task<void> task) { detail::run_detached(std::move(task)); }

}  // namespace weft::runtime
