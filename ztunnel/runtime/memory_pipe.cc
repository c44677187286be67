#include "ztunnel/runtime/memory_pipe.h"

#include "ztunnel/base/check.h"
#include "ztunnel/runtime/sync.h"

#include <algorithm>
#include <deque>

namespace weft::runtime {
namespace {

// One direction. Both ends hold it, and every call that waits: an end may go while another's call
// is on its way.
struct Direction {
  explicit Direction(size_t bound_bytes) : bound(bound_bytes) {}

  const size_t bound;
  std::deque<Buffer> queue;
  size_t queued = 0;
  bool ended = false;   // by the writer, in good order
  bool broken = false;  // by either end
  Event changed;        // wakes the reader and the writer

  void break_off() {
    broken = true;
    queue.clear();
    queued = 0;
    changed.wake();
  }
};

class MemoryStream final : public ByteStream {
 public:
  MemoryStream(std::shared_ptr<Direction> in, std::shared_ptr<Direction> out)
      : in_(std::move(in)), out_(std::move(out)), aborted_(std::make_shared<bool>(false)) {}

  ~MemoryStream() override {
    if (in_->queued > 0) out_->break_off();
    in_->break_off();
    out_->ended = true;
    out_->changed.wake();
  }

  Task<Result<Buffer>> read() override { return read_from(in_, aborted_); }
  Task<Result<void>> write(Buffer bytes) override {
    return write_to(out_, aborted_, std::move(bytes));
  }
  Task<Result<void>> shutdown_write() override {
    if (*aborted_ || out_->broken) co_return broken(*aborted_);
    out_->ended = true;
    out_->changed.wake();
    co_return Result<void>();
  }
  void abort() override {
    if (std::exchange(*aborted_, true)) return;
    const std::shared_ptr<Direction> in = in_;  // who is woken may destroy this end
    const std::shared_ptr<Direction> out = out_;
    in->break_off();
    out->break_off();
  }

 private:
  static Fail broken(bool by_us) {
    if (by_us) return fail(Code::kCancelled, "the pipe was aborted here");
    return fail(Code::kReset, "the pipe was broken by its other end");
  }

  static Task<Result<Buffer>> read_from(std::shared_ptr<Direction> from,
                                        std::shared_ptr<const bool> aborted) {
    while (from->queue.empty() && !from->ended && !from->broken) co_await from->changed.wait();
    if (*aborted || from->broken) co_return broken(*aborted);
    if (from->queue.empty()) co_return Buffer();
    Buffer bytes = std::move(from->queue.front());
    from->queue.pop_front();
    from->queued -= bytes.size();
    from->changed.wake();
    co_return bytes;
  }

  static Task<Result<void>> write_to(std::shared_ptr<Direction> to,
                                     std::shared_ptr<const bool> aborted, Buffer bytes) {
    while (!bytes.empty()) {
      while (to->queued >= to->bound && !to->broken) co_await to->changed.wait();
      if (*aborted || to->broken) co_return broken(*aborted);
      if (to->ended) co_return fail(Code::kReset, "written behind the end of the pipe");
      const size_t taken = std::min(bytes.size(), to->bound - to->queued);
      to->queue.push_back(taken == bytes.size() ? std::move(bytes) : bytes.share(0, taken));
      if (!bytes.empty()) bytes.trim_front(taken);
      to->queued += taken;
      to->changed.wake();
    }
    if (*aborted) co_return broken(true);
    co_return Result<void>();
  }

  std::shared_ptr<Direction> in_;
  std::shared_ptr<Direction> out_;
  std::shared_ptr<bool> aborted_;
};

}  // namespace

std::pair<std::unique_ptr<ByteStream>, std::unique_ptr<ByteStream>> make_memory_pipe(
    size_t bytes_each_way) {
  CHECK(bytes_each_way > 0);
  auto there = std::make_shared<Direction>(bytes_each_way);
  auto back = std::make_shared<Direction>(bytes_each_way);
  auto left = std::make_unique<MemoryStream>(back, there);
  auto right = std::make_unique<MemoryStream>(std::move(there), std::move(back));
  return {std::move(left), std::move(right)};
}

}  // namespace weft::runtime
