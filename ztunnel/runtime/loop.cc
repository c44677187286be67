#include "ztunnel/runtime/loop.h"

#include "ztunnel/base/check.h"
#include "ztunnel/base/log.h"
#include "ztunnel/runtime/epoll.h"
#include "ztunnel/runtime/timers.h"
#include "ztunnel/runtime/uring.h"

#include <algorithm>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

namespace weft::runtime {

std::string_view to_string(Backend backend) {
  return backend == Backend::kUring ? "io_uring" : "epoll";
}

// What other threads may touch stands under the mutex; the rest belongs to the loop's thread.
struct Loop::Shared {
  std::mutex mutex;
  // Not bounded: only our own threads post, and what they post is bounded by what they wait for.
  std::vector<std::move_only_function<void()>> mailbox;
  bool stop_asked = false;

  TimerQueue timers;
  std::chrono::steady_clock::time_point now;
  bool running = false;
  std::thread::id thread;
  std::vector<std::move_only_function<void()>> batch;

  // Runs what was posted; true where stop() was asked for before that.
  bool run_mailbox() {
    bool stop = false;
    {
      const std::scoped_lock lock(mutex);
      std::swap(batch, mailbox);
      stop = std::exchange(stop_asked, false);
    }
    for (auto& call : batch) call();
    batch.clear();
    return stop;
  }
};

bool Operation::await_ready() {
  DCHECK(loop->is_own_thread());
  if (fd < 0) {
    result = -EBADF;
    return true;
  }
  return loop->begin(*this);
}

void Operation::await_suspend(std::coroutine_handle<> handle) { waiter = handle; }

Loop::Loop() : shared_(std::make_shared<Shared>()) {}

Result<std::unique_ptr<Loop>> Loop::create(Backend backend) {
  return backend == Backend::kUring ? make_uring_loop() : make_epoll_loop();
}

Result<std::unique_ptr<Loop>> Loop::create_best() {
  Result<std::unique_ptr<Loop>> loop = create(Backend::kUring);
  if (loop) {
    log::info("runtime").bare("backend", "io_uring").say("event loop made");
    return loop;
  }
  log::info("runtime")
      .bare("backend", "epoll")
      .field("reason", loop.error().to_string())
      .say("event loop made; io_uring is not to be had");
  return create(Backend::kEpoll);
}

void Loop::run() {
  Shared& shared = *shared_;
  CHECK(!shared.running);
  shared.running = true;
  shared.thread = std::this_thread::get_id();
  prepare();
  while (true) {
    refresh_now();
    const bool stop = shared.run_mailbox();
    shared.timers.run_due(shared.now);
    end_turn();
    if (stop) break;
    turn(ending_.empty() ? time_to_next_timer() : std::chrono::milliseconds::zero());
  }
  finish();
  shared.running = false;
}

void Loop::stop() {
  {
    const std::scoped_lock lock(shared_->mutex);
    shared_->stop_asked = true;
  }
  wake();
}

void Loop::post(std::move_only_function<void()> call) {
  bool first = false;
  {
    const std::scoped_lock lock(shared_->mutex);
    first = shared_->mailbox.empty();
    shared_->mailbox.push_back(std::move(call));
  }
  if (first) wake();
}

Operation Loop::accept(int listener) {
  Operation operation;
  operation.loop = this;
  operation.kind = Operation::Kind::kAccept;
  operation.fd = listener;
  return operation;
}

Operation Loop::connect(int fd, const SocketAddress& address) {
  Operation operation;
  operation.loop = this;
  operation.kind = Operation::Kind::kConnect;
  operation.fd = fd;
  operation.address_length = address.to_sockaddr(operation.address);
  return operation;
}

Operation Loop::receive(int fd, Buffer& into, bool likely_ready) {
  Operation operation;
  operation.loop = this;
  operation.kind = Operation::Kind::kReceive;
  operation.fd = fd;
  operation.into = &into;
  operation.likely_ready = likely_ready;
  return operation;
}

Operation Loop::send(int fd, std::span<const iovec> pieces) {
  Operation operation;
  operation.loop = this;
  operation.kind = Operation::Kind::kSend;
  operation.fd = fd;
  operation.pieces = pieces;
  return operation;
}

Operation Loop::poll(int fd, uint32_t events) {
  Operation operation;
  operation.loop = this;
  operation.kind = Operation::Kind::kPoll;
  operation.fd = fd;
  operation.poll_events = events;
  return operation;
}

TimerId Loop::schedule(std::chrono::milliseconds delay, std::move_only_function<void()> call) {
  return shared_->timers.add(now() + delay, std::move(call));
}

void Loop::unschedule(TimerId timer) { shared_->timers.remove(timer); }

namespace {

struct SleepAwaiter {
  Loop& loop;
  std::chrono::milliseconds delay;
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> waiter) const { loop.schedule(delay, waiter); }
  void await_resume() const noexcept {}
};

}  // namespace

Task<void> Loop::sleep(std::chrono::milliseconds delay) { co_await SleepAwaiter{*this, delay}; }

std::chrono::steady_clock::time_point Loop::now() const {
  return shared_->running ? shared_->now : std::chrono::steady_clock::now();
}

void Loop::refresh_now() { shared_->now = std::chrono::steady_clock::now(); }

bool Loop::is_own_thread() const {
  return !shared_->running || shared_->thread == std::this_thread::get_id();
}

std::chrono::milliseconds Loop::time_to_next_timer() const {
  constexpr std::chrono::milliseconds kNoLimit{-1};
  const auto earliest = shared_->timers.earliest();
  if (!earliest) return kNoLimit;
  const auto left = *earliest - shared_->now;
  if (left <= std::chrono::nanoseconds::zero()) return std::chrono::milliseconds::zero();
  return std::chrono::ceil<std::chrono::milliseconds>(left);
}

// What is asked for meanwhile is done in the next turn, so that nobody can keep the loop here.
void Loop::end_turn() {
  const size_t count = ending_.size();
  for (size_t i = 0; i < count; ++i) {
    TurnEnd* end = ending_[i];
    if (end == nullptr) continue;
    end->asked_ = false;
    ending_[i] = nullptr;
    end->call_();
  }
  ending_.erase(ending_.begin(), ending_.begin() + static_cast<ptrdiff_t>(count));
}

void TurnEnd::ask() {
  if (std::exchange(asked_, true)) return;
  loop_.ending_.push_back(this);
}

TurnEnd::~TurnEnd() {
  if (asked_) *std::ranges::find(loop_.ending_, this) = nullptr;
}

Deadline::Deadline(Loop& loop, std::chrono::milliseconds limit,
                   std::move_only_function<void()> on_timeout)
    : loop_(loop), on_timeout_(std::move(on_timeout)) {
  timer_ = loop_.schedule(limit, [this] {
    expired_ = true;
    on_timeout_();
  });
}

Deadline::~Deadline() { loop_.unschedule(timer_); }

}  // namespace weft::runtime
