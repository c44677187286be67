#pragma once

#include "ztunnel/base/ip.h"
#include "ztunnel/base/result.h"
#include "ztunnel/runtime/buffer.h"
#include "ztunnel/runtime/splice.h"
#include "ztunnel/runtime/task.h"

#include <sys/uio.h>

#include <chrono>
#include <coroutine>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

// The house's one event loop: one thread, one Loop. Two backends stand behind it, io_uring and,
// where that is refused (seccomp, RHEL 9), epoll; the connection tests run on both.

namespace weft::runtime {

class Loop;
class TurnEnd;

enum class Backend { kUring, kEpoll };
std::string_view to_string(Backend backend);

// A system call that somebody awaits. It lives in the awaiting coroutine's frame, so it must
// complete before that frame goes: Loop::cancel(fd) makes it complete with -ECANCELED. co_await
// yields the system call's result: >= 0, or -errno.
struct Operation {
  enum class Kind : uint8_t { kAccept, kConnect, kReceive, kSend, kPoll };

  Loop* loop = nullptr;
  Kind kind = Kind::kPoll;
  int fd = -1;
  uint32_t poll_events = 0;         // kPoll: POLLIN, POLLOUT
  bool likely_ready = false;        // kReceive: worth a try before waiting
  Buffer* into = nullptr;           // kReceive
  std::span<const iovec> pieces{};  // kSend; the array too must stay
  sockaddr_storage address{};       // kConnect
  socklen_t address_length = 0;

  int result = 0;
  bool cancelled = false;  // cancel() was asked for
  std::coroutine_handle<> waiter{};
  Operation* next = nullptr;  // for the backend's lists
  Operation* previous = nullptr;

  bool await_ready();  // true where the call could be made at once without waiting
  void await_suspend(std::coroutine_handle<> handle);
  int await_resume() const { return result; }
};

using TimerId = uint64_t;  // 0: none

class Loop {
 public:
  // kUnsupported where the kernel refuses the backend.
  static Result<std::unique_ptr<Loop>> create(Backend backend);
  // io_uring where the kernel allows it, else epoll; logs which.
  static Result<std::unique_ptr<Loop>> create_best();
  virtual ~Loop() = default;

  // Runs until stop(); a stop() that came before makes it return at once. May be run again, on the
  // same thread. Everything below is for the thread that runs it, before or during run(),
  // except stop() and post().
  void run();
  void stop();                                      // any thread
  void post(std::move_only_function<void()> call);  // any thread: runs `call` on the loop's thread
  void spawn(Task<void> task) { start(std::move(task)); }

  // Sockets are non-blocking. A descriptor has at most one pending operation of each direction:
  // accept, receive and POLLIN are one, connect, send and POLLOUT the other.
  Operation accept(int listener);  // result: a non-blocking, close-on-exec descriptor
  Operation connect(int fd, const SocketAddress& address);
  // Waits for bytes without holding a buffer; `into` becomes a pooled buffer with what came, or
  // empty at the end of the stream. `likely_ready`: more has probably come already.
  Operation receive(int fd, Buffer& into, bool likely_ready = false);
  Operation send(int fd, std::span<const iovec> pieces);  // may send less; MSG_NOSIGNAL
  Operation poll(int fd, uint32_t events);                // result: the events that are ready
  // Completes every pending operation on the descriptor with -ECANCELED, soon but not before this
  // returns. Call it before close(2); closing alone leaves them pending.
  virtual void cancel(int fd) = 0;

  // Runs `call` once, not before `delay` has passed.
  TimerId schedule(std::chrono::milliseconds delay, std::move_only_function<void()> call);
  void unschedule(TimerId timer);  // a timer that has fired or 0: does nothing
  Task<void> sleep(std::chrono::milliseconds delay);
  std::chrono::steady_clock::time_point now() const;  // read once a turn

  BufferPool& buffers() { return buffers_; }
  PipePool& pipes() { return pipes_; }
  virtual Backend backend() const = 0;

 protected:
  friend struct Operation;
  friend class TurnEnd;
  Loop();
  virtual void prepare() {}  // first thing in run()
  virtual void finish() {}   // last thing in run()
  void refresh_now();        // for turn(), once it has waited
  // Makes the call or queues it; true: done at once, result is set.
  virtual bool begin(Operation& operation) = 0;
  // Waits until something completes or `timeout` passes, and resumes who waited. Negative: no
  // limit.
  virtual void turn(std::chrono::milliseconds timeout) = 0;
  virtual void wake() = 0;  // any thread

 private:
  struct Shared;  // mailbox and timers; see loop.cc
  bool is_own_thread() const;
  std::chrono::milliseconds time_to_next_timer() const;
  void end_turn();
  BufferPool buffers_;
  PipePool pipes_;
  std::vector<TurnEnd*> ending_;  // who asked; null: it is gone
  std::shared_ptr<Shared> shared_;
};

// Something to be done once all that was ready in a turn of the loop has run, before the loop
// waits: so what several tasks have to say leaves together. Asking allocates nothing and costs no
// turn.
class TurnEnd {
 public:
  TurnEnd(Loop& loop, std::move_only_function<void()> call) : loop_(loop), call_(std::move(call)) {}
  ~TurnEnd();
  TurnEnd(const TurnEnd&) = delete;
  TurnEnd& operator=(const TurnEnd&) = delete;
  void ask();  // once more while it is asked for: does nothing

 private:
  friend class Loop;
  Loop& loop_;
  std::move_only_function<void()> call_;
  bool asked_ = false;
};

// Calls `on_timeout` unless it is destroyed before `limit` has passed. The way to bound an await:
//   Deadline deadline(loop, kConnectTimeout, [&] { stream.abort(); });
//   auto connected = co_await stream.connect(address);
class Deadline {
 public:
  Deadline(Loop& loop, std::chrono::milliseconds limit, std::move_only_function<void()> on_timeout);
  ~Deadline();
  Deadline(const Deadline&) = delete;
  Deadline& operator=(const Deadline&) = delete;
  bool expired() const { return expired_; }

 private:
  Loop& loop_;
  std::move_only_function<void()> on_timeout_;
  bool expired_ = false;
  TimerId timer_ = 0;
};

}  // namespace weft::runtime
