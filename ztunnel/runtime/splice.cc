#include "ztunnel/runtime/splice.h"

#include "ztunnel/runtime/socket.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

// Both ends are non-blocking and so is the pipe: splice(2) moves what it can at once, and the loop
// waits for the rest. io_uring's own splice always takes a thread of its own, which costs more.

namespace weft::runtime {
namespace {

// A pass that moves less than this was cheaper as a copy; so many in a row, and it is no bulk. Both
// are generous: a loop that keeps up sees bulk in small portions, and going back to copying costs
// more than some small passes (measured with eight connections: twice the CPU for each byte).
constexpr size_t kWorthBytes = 4 * 1024;
constexpr int kSmallPassesMax = 64;
// Then it is the other connections' turn.
constexpr size_t kBytesPerTurn = 1024 * 1024;

ssize_t move_some(int from, int to, size_t most) {
  while (true) {
    const ssize_t moved =
        splice(from, nullptr, to, nullptr, most, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
    if (moved >= 0) return moved;
    if (errno != EINTR) return -errno;
  }
}

// A pipe on loan: it goes back empty, or is closed with what is inside.
class Loan {
 public:
  explicit Loan(PipePool& pool) : pool_(pool), pipe_(pool.take()) {}
  ~Loan() {
    if (!pipe_) return;
    if (held == 0) {
      pool_.give_back(std::move(*pipe_));
    } else {
      pool_.lose();
    }
  }
  Loan(const Loan&) = delete;
  Loan& operator=(const Loan&) = delete;

  bool is_had() const { return pipe_.has_value(); }
  const Pipe& pipe() const { return *pipe_; }
  size_t held = 0;

 private:
  PipePool& pool_;
  std::optional<Pipe> pipe_;
};

// With the ordinary bound on unsent bytes each pass would wait for the one before to be sent:
// measured, twice the CPU for each byte.
struct Bulk {
  explicit Bulk(SocketStream& receiver) : to(receiver) { to.bound_unsent(false); }
  ~Bulk() { to.bound_unsent(true); }
  Bulk(const Bulk&) = delete;
  Bulk& operator=(const Bulk&) = delete;
  SocketStream& to;
};

Task<Result<void>> wait_for(SocketStream& stream, uint32_t events) {
  const int result = co_await stream.loop().poll(stream.fd(), events);
  if (stream.is_aborted()) co_return fail(Code::kCancelled, "the connection was aborted here");
  if (result < 0) co_return fail_errno(-result, "waiting for a socket");
  co_return Result<void>();
}

Task<Result<void>> drain(Loan& loan, SocketStream& to) {
  while (loan.held > 0) {
    const ssize_t moved = move_some(loan.pipe().read_end.get(), to.fd(), loan.held);
    if (moved == -EAGAIN) {
      CO_TRY(co_await wait_for(to, POLLOUT));
      continue;
    }
    if (moved < 0) co_return fail_errno(static_cast<int>(-moved), "sending");
    loan.held -= static_cast<size_t>(moved);
  }
  co_return Result<void>();
}

}  // namespace

std::optional<Pipe> PipePool::take() {
  if (!free_.empty()) {
    Pipe pipe = std::move(free_.back());
    free_.pop_back();
    ++out_;
    return pipe;
  }
  if (out_ >= kOutMax) return std::nullopt;
  int ends[2];
  if (pipe2(ends, O_NONBLOCK | O_CLOEXEC) != 0) return std::nullopt;
  ++out_;
  Pipe pipe{Fd(ends[0]), Fd(ends[1])};
  fcntl(ends[1], F_SETPIPE_SZ, kBytes);  // a smaller one only moves less at a time
  return pipe;
}

void PipePool::give_back(Pipe pipe) {
  --out_;
  if (free_.size() < kFreeMax) free_.push_back(std::move(pipe));
}

Task<Result<SpliceEnd>> splice_bulk(SocketStream& from, SocketStream& to,
                                    std::move_only_function<void(uint64_t)> moved) {
  const Bulk bulk(to);
  int small_passes = 0;
  size_t in_this_turn = 0;
  while (small_passes < kSmallPassesMax) {
    if (from.is_aborted() || to.is_aborted()) {
      co_return fail(Code::kCancelled, "the connection was aborted here");
    }
    ssize_t received = 0;
    {
      Loan loan(from.loop().pipes());
      if (!loan.is_had()) co_return SpliceEnd::kPaused;
      received = move_some(from.fd(), loan.pipe().write_end.get(), PipePool::kBytes);
      if (received > 0) {
        loan.held = static_cast<size_t>(received);
        CO_TRY(co_await drain(loan, to));
        moved(static_cast<uint64_t>(received));
      }
    }
    if (received == 0) co_return SpliceEnd::kEnded;
    if (received < 0 && received != -EAGAIN) {
      co_return fail_errno(static_cast<int>(-received), "receiving");
    }
    if (received > 0) {
      const auto size = static_cast<size_t>(received);
      small_passes = size < kWorthBytes ? small_passes + 1 : 0;
      in_this_turn += size;
    }
    if (received < 0 || in_this_turn >= kBytesPerTurn) {
      in_this_turn = 0;
      CO_TRY(co_await wait_for(from, POLLIN));
    }
  }
  co_return SpliceEnd::kPaused;
}

}  // namespace weft::runtime
