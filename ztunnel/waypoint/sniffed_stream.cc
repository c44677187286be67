#include "ztunnel/waypoint/sniffed_stream.h"

#include <algorithm>

namespace weft::waypoint {

using runtime::Buffer;
using runtime::Task;

std::optional<Spoken> SniffedStream::spoken() const {
  if (first_.empty()) return std::nullopt;
  const auto spoken = spoken_in(first_);
  return spoken || first_.size() < kSniffBytesMax ? spoken : Spoken::kOther;
}

Task<void> SniffedStream::read_ahead() {
  while (!given_up_ && !end_ && !spoken()) {
    Result<Buffer> more = co_await stream_->read();
    if (!more || more->empty()) {
      end_ = std::move(more);
      break;
    }
    first_ += more->text().substr(0, kSniffBytesMax - std::min(first_.size(), kSniffBytesMax));
    ahead_.push_back(std::move(*more));
    news_.wake();
  }
  is_done_ = true;
  news_.wake();
}

Task<std::optional<Spoken>> SniffedStream::sniffed(std::chrono::milliseconds limit) {
  const runtime::Deadline deadline(loop_, limit, [this] { news_.wake(); });
  while (!is_done_ && !deadline.expired()) co_await news_.wait();
  given_up_ = true;
  co_return spoken();
}

Task<Result<Buffer>> SniffedStream::read() {
  while (ahead_.empty() && !is_done_) co_await news_.wait();
  if (!ahead_.empty()) {
    Buffer next = std::move(ahead_.front());
    ahead_.pop_front();
    co_return std::move(next);
  }
  if (end_ && *end_) co_return Buffer();  // as often as it is asked
  if (end_) co_return Fail(end_->error());
  co_return co_await stream_->read();
}

std::optional<Buffer> SniffedStream::take_ready() {
  if (!ahead_.empty()) {
    Buffer next = std::move(ahead_.front());
    ahead_.pop_front();
    return next;
  }
  return is_done_ && !end_ ? stream_->take_ready() : std::nullopt;
}

Task<void> SniffedStream::close() {
  given_up_ = true;
  if (!is_done_) stream_->abort();
  co_await reading_.join();
}

}  // namespace weft::waypoint
