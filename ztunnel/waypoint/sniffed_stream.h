#pragma once

#include "ztunnel/runtime/loop.h"
#include "ztunnel/runtime/stream.h"
#include "ztunnel/runtime/sync.h"
#include "ztunnel/waypoint/peek.h"

#include <deque>
#include <memory>
#include <optional>
#include <string>

namespace weft::waypoint {

// A stream that is read ahead, to see what it carries; what was read is then read once more. The
// reading goes on beside whoever uses the stream, because a client of a server that speaks first
// says nothing until it has. close() must have completed before it goes.
class SniffedStream final : public runtime::ByteStream {
 public:
  SniffedStream(runtime::Loop& loop, std::unique_ptr<runtime::ByteStream> stream)
      : loop_(loop), stream_(std::move(stream)) {
    reading_.spawn(read_ahead());
  }

  // What it carries; nothing where `limit` has passed before that was clear, or it ended.
  runtime::Task<std::optional<Spoken>> sniffed(std::chrono::milliseconds limit);
  // Breaks it where it is still being read, and waits for that.
  runtime::Task<void> close();

  runtime::Task<Result<runtime::Buffer>> read() override;
  std::optional<runtime::Buffer> take_ready() override;
  runtime::Task<Result<void>> write(runtime::Buffer bytes) override {
    return stream_->write(std::move(bytes));
  }
  runtime::Task<Result<void>> write_pieces(std::span<runtime::Buffer> pieces) override {
    return stream_->write_pieces(pieces);
  }
  runtime::Task<Result<void>> shutdown_write() override { return stream_->shutdown_write(); }
  void abort() override { stream_->abort(); }

 private:
  // More than a method and a space take.
  static constexpr size_t kSniffBytesMax = 64;
  runtime::Task<void> read_ahead();
  std::optional<Spoken> spoken() const;

  runtime::Loop& loop_;
  std::unique_ptr<runtime::ByteStream> stream_;
  std::deque<runtime::Buffer> ahead_;
  std::optional<Result<runtime::Buffer>> end_;  // an error, or the peer's end
  std::string first_;                           // kSniffBytesMax of what came
  bool given_up_ = false;                       // nobody asks any more what it is
  bool is_done_ = false;                        // nothing more is read ahead
  runtime::Event news_;
  runtime::TaskScope reading_;
};

}  // namespace weft::waypoint
