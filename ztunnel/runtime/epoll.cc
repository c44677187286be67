// The epoll backend. An operation is tried at once; where that would block, its descriptor is armed
// for one event (EPOLLONESHOT) and the operation is tried again when the event comes. Arming anew
// each time costs a system call for each wait, and in return no state can go stale: a descriptor
// number may be closed and used again without the loop being told.
//
// A listener that several loops accept from is armed exclusively, so that a connection wakes one of
// them and not all: the one that has waited longest. Each arms anew, at the end of the queue, as
// soon as it has accepted, and so they take turns. Later, when it asks for the next connection,
// would be too late: it would find the one that another loop is just being woken for.

#include "ztunnel/runtime/epoll.h"

#include "ztunnel/base/fd.h"
#include "ztunnel/runtime/pending.h"

#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>

namespace weft::runtime {
namespace {

constexpr int kEventsPerTurn = 256;
// In an event's data, beside the descriptor: it is of a listener.
constexpr uint64_t kListener = uint64_t{1} << 32;
// How many operations of a turn may complete without waiting: a peer that always has bytes ready
// must not keep the others of its loop from theirs. 16 reads are 1 MiB, what stays in cache until
// it is written on (measured: 64 cost two thirds of the throughput of one busy connection).
constexpr int kImmediatePerTurn = 16;

class EpollLoop final : public Loop {
 public:
  EpollLoop(Fd epoll, Fd wake) : epoll_(std::move(epoll)), wake_(std::move(wake)) {}

  void cancel(int fd) override;
  Backend backend() const override { return Backend::kEpoll; }

 private:
  bool begin(Operation& operation) override;
  void turn(std::chrono::milliseconds timeout) override;
  void wake() override { eventfd_write(wake_.get(), 1); }

  bool attempt(Operation& operation);  // false: it would block
  int arm(int fd);                     // for what is pending on it; 0 or -errno
  int arm_listener(int fd);
  void on_listener_event(int fd);
  void disarm(int fd) { epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr); }
  void on_event(int fd, uint32_t events);
  void complete(Operation& operation);
  void complete_all(int fd, int result);  // what is pending on it

  Fd epoll_;
  Fd wake_;
  PendingTable pending_;
  OperationList ready_;
  int immediate_left_ = kImmediatePerTurn;
  std::array<epoll_event, kEventsPerTurn> events_{};
};

// The result of a non-blocking call as an Operation reports it; EINTR cannot come out.
template <class Call>
int call_again(Call call) {
  while (true) {
    const auto result = call();
    if (result >= 0) return static_cast<int>(result);
    if (errno != EINTR) return -errno;
  }
}

int ready_events(int fd, uint32_t events) {
  pollfd entry{.fd = fd, .events = static_cast<int16_t>(events), .revents = 0};
  const int result = call_again([&] { return ::poll(&entry, 1, 0); });
  if (result <= 0) return result == 0 ? -EAGAIN : result;
  return entry.revents;
}

int connect_result(int fd) {
  const int events = ready_events(fd, POLLOUT);
  if (events < 0) return events;
  int error = 0;
  socklen_t length = sizeof error;
  if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) != 0) return -errno;
  return -error;
}

bool EpollLoop::attempt(Operation& operation) {
  const int fd = operation.fd;
  int result = 0;
  switch (operation.kind) {
    case Operation::Kind::kAccept:
      result =
          call_again([&] { return accept4(fd, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC); });
      break;
    case Operation::Kind::kConnect:
      result = connect_result(fd);
      break;
    case Operation::Kind::kReceive: {
      Buffer buffer = buffers().get();
      const std::span<uint8_t> space = buffer.tail();
      result = call_again([&] { return recv(fd, space.data(), space.size(), MSG_DONTWAIT); });
      if (result > 0) {
        buffer.extend(static_cast<size_t>(result));
        *operation.into = std::move(buffer);
      } else if (result == 0) {
        operation.into->clear();
      }
      break;
    }
    case Operation::Kind::kSend: {
      msghdr message{};
      message.msg_iov = const_cast<iovec*>(operation.pieces.data());
      message.msg_iovlen = operation.pieces.size();
      result = call_again([&] { return sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT); });
      break;
    }
    case Operation::Kind::kPoll:
      result = ready_events(fd, operation.poll_events);
      break;
  }
  operation.result = result;
  return result != -EAGAIN;
}

bool EpollLoop::begin(Operation& operation) {
  if (operation.kind == Operation::Kind::kConnect) {
    const auto* address = reinterpret_cast<const sockaddr*>(&operation.address);
    const int result =
        call_again([&] { return ::connect(operation.fd, address, operation.address_length); });
    if (result != -EINPROGRESS) {
      operation.result = result;
      return true;
    }
  } else if (operation.kind != Operation::Kind::kAccept && immediate_left_ > 0) {
    // An accept always waits for its turn: workers that share a listener then share its
    // connections.
    --immediate_left_;
    if (attempt(operation)) return true;
  }
  pending_.add(operation);
  const int result = arm(operation.fd);
  if (result == 0) return false;
  pending_.remove(operation);
  operation.result = result;
  return true;
}

int EpollLoop::arm_listener(int fd) {
  epoll_event event{};
  event.data.u64 = kListener | static_cast<uint32_t>(fd);
  event.events = EPOLLIN | EPOLLEXCLUSIVE;
  if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) == 0) return 0;
  return errno == EEXIST ? 0 : -errno;  // armed since the last connection
}

// The kernel refuses EPOLLONESHOT beside EPOLLEXCLUSIVE, so it is disarmed by hand; and stays so
// where nobody asks for a connection now.
void EpollLoop::on_listener_event(int fd) {
  disarm(fd);
  Operation* accepting = pending_.of(fd).in;
  if (accepting == nullptr) return;
  if (attempt(*accepting)) complete(*accepting);
  const bool broken = accepting->result < 0 && accepting->result != -EAGAIN;
  const int result = broken ? 0 : arm_listener(fd);
  if (result != 0) complete_all(fd, result);
}

int EpollLoop::arm(int fd) {
  const PendingTable::Slot slot = pending_.of(fd);
  if (slot.in != nullptr && slot.in->kind == Operation::Kind::kAccept) return arm_listener(fd);
  epoll_event event{};
  event.data.u64 = static_cast<uint32_t>(fd);
  if (slot.in != nullptr) event.events |= EPOLLIN;
  if (slot.out != nullptr) event.events |= EPOLLOUT;
  if (event.events == 0) return 0;
  event.events |= EPOLLONESHOT;
  if (epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, fd, &event) == 0) return 0;
  if (errno == ENOENT && epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) == 0) return 0;
  return -errno;
}

void EpollLoop::complete(Operation& operation) {
  pending_.remove(operation);
  ready_.push(operation);
}

void EpollLoop::complete_all(int fd, int result) {
  const PendingTable::Slot slot = pending_.of(fd);
  for (Operation* operation : {slot.in, slot.out == slot.in ? nullptr : slot.out}) {
    if (operation == nullptr) continue;
    operation->result = result;
    complete(*operation);
  }
}

void EpollLoop::on_event(int fd, uint32_t events) {
  const PendingTable::Slot slot = pending_.of(fd);
  const bool broken = (events & (EPOLLHUP | EPOLLERR)) != 0;
  const bool input = broken || (events & EPOLLIN) != 0;
  const bool output = broken || (events & EPOLLOUT) != 0;
  const bool one_for_both = slot.in != nullptr && slot.in == slot.out;
  if (slot.in != nullptr && (input || one_for_both) && attempt(*slot.in)) complete(*slot.in);
  if (slot.out != nullptr && !one_for_both && output && attempt(*slot.out)) complete(*slot.out);
  const int result = arm(fd);
  if (result != 0) complete_all(fd, result);
}

void EpollLoop::turn(std::chrono::milliseconds timeout) {
  if (!ready_.empty()) timeout = std::chrono::milliseconds::zero();
  constexpr int64_t kTimeoutMsMax = 3'600'000;  // what fits an int and is no burden to wake up for
  const int64_t limit_ms = std::min<int64_t>(timeout.count(), kTimeoutMsMax);
  const int count =
      epoll_wait(epoll_.get(), events_.data(), kEventsPerTurn, static_cast<int>(limit_ms));
  refresh_now();
  immediate_left_ = kImmediatePerTurn;
  for (int i = 0; i < count; ++i) {
    const epoll_event& event = events_[static_cast<size_t>(i)];
    if (event.data.u64 == static_cast<uint32_t>(wake_.get())) {
      eventfd_t value = 0;
      eventfd_read(wake_.get(), &value);
    } else {
      const int fd = static_cast<int>(event.data.u64 & ~kListener);
      if ((event.data.u64 & kListener) != 0) {
        on_listener_event(fd);
      } else {
        on_event(fd, event.events);
      }
    }
  }
  ready_.resume_all();
}

void EpollLoop::cancel(int fd) {
  const PendingTable::Slot slot = pending_.of(fd);
  // A listener may be armed though nothing is pending.
  disarm(fd);
  if (slot.in != nullptr || slot.out != nullptr) complete_all(fd, -ECANCELED);
}

}  // namespace

Result<std::unique_ptr<Loop>> make_epoll_loop() {
  Fd epoll(epoll_create1(EPOLL_CLOEXEC));
  if (!epoll) return fail_errno(errno, "making an epoll instance");
  Fd wake(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
  if (!wake) return fail_errno(errno, "making an eventfd");
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = static_cast<uint32_t>(wake.get());
  if (epoll_ctl(epoll.get(), EPOLL_CTL_ADD, wake.get(), &event) != 0) {
    return fail_errno(errno, "watching an eventfd");
  }
  return std::make_unique<EpollLoop>(std::move(epoll), std::move(wake));
}

}  // namespace weft::runtime
