#pragma once

#include "ztunnel/http/http1_inlet.h"
#include "ztunnel/runtime/stream.h"

#include <utility>

namespace weft::http::http1 {

// What a connection is after an Upgrade: bytes, first those that came behind the head.
class Tail final : public runtime::ByteStream {
 public:
  explicit Tail(Inlet inlet) : inlet_(std::move(inlet)) {}

  runtime::Task<Result<runtime::Buffer>> read() override {
    const bool more = CO_TRY(co_await inlet_.more());
    if (!more) co_return runtime::Buffer();
    co_return std::move(inlet_.unread());
  }
  runtime::Task<Result<void>> write(runtime::Buffer bytes) override {
    return inlet_.transport().write(std::move(bytes));
  }
  runtime::Task<Result<void>> write_pieces(std::span<runtime::Buffer> pieces) override {
    return inlet_.transport().write_pieces(pieces);
  }
  runtime::Task<Result<void>> shutdown_write() override {
    return inlet_.transport().shutdown_write();
  }
  void abort() override { inlet_.transport().abort(); }

 private:
  Inlet inlet_;
};

}  // namespace weft::http::http1
