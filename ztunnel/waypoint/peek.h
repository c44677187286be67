#pragma once

#include "ztunnel/runtime/loop.h"
#include "ztunnel/runtime/stream.h"

#include <chrono>
#include <memory>
#include <string_view>
#include <utility>

namespace weft::waypoint {

// A stream whose first bytes have been looked at, and are read again.
class Peeked final : public runtime::ByteStream {
 public:
  explicit Peeked(std::unique_ptr<runtime::ByteStream> inner) : inner_(std::move(inner)) {}

  // Waits for more first bytes; false: the peer ended its side, or they are as many as a Buffer
  // holds.
  runtime::Task<Result<bool>> peek(runtime::Loop& loop);
  std::string_view peeked() const { return first_.text(); }

  runtime::Task<Result<runtime::Buffer>> read() override {
    return first_.empty() ? inner_->read() : take_first();
  }
  std::optional<runtime::Buffer> take_ready() override {
    if (first_.empty()) return inner_->take_ready();
    return std::move(first_);
  }
  runtime::Task<Result<void>> write(runtime::Buffer bytes) override {
    return inner_->write(std::move(bytes));
  }
  runtime::Task<Result<void>> write_pieces(std::span<runtime::Buffer> pieces) override {
    return inner_->write_pieces(pieces);
  }
  runtime::Task<Result<void>> shutdown_write() override { return inner_->shutdown_write(); }
  void abort() override { inner_->abort(); }
  // Once nothing peeked is left, the inner stream's own.
  runtime::SocketStream* socket() override { return first_.empty() ? inner_->socket() : nullptr; }
  void moved(uint64_t received, uint64_t sent) override { inner_->moved(received, sent); }

 private:
  runtime::Task<Result<runtime::Buffer>> take_first() { co_return std::move(first_); }

  std::unique_ptr<runtime::ByteStream> inner_;
  runtime::Buffer first_;
};

enum class Spoken { kHttp1, kHttp2, kOther };

// What these first bytes begin; nothing: more are needed to say. HTTP/1 is a method, a space and a
// target; HTTP/2 its preface.
std::optional<Spoken> spoken_in(std::string_view first_bytes);

// Which version of HTTP a client speaks where HTTP is declared: what is not HTTP/2's preface is
// HTTP/1's to refuse.
runtime::Task<Result<Spoken>> peek_http(runtime::Loop& loop, Peeked& stream,
                                        std::chrono::milliseconds limit);

}  // namespace weft::waypoint
