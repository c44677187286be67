#pragma once

#include "ztunnel/runtime/loop.h"
#include "ztunnel/runtime/stream.h"

#include <memory>
#include <string>
#include <string_view>
#include <utility>

// The same test over every way in which bytes travel: memory, and TCP on loopback with either
// backend of the loop.

namespace weft::testing {

enum class Transport { kMemory, kEpollSockets, kUringSockets };
std::string to_string(Transport transport);

using StreamPair =
    std::pair<std::unique_ptr<runtime::ByteStream>, std::unique_ptr<runtime::ByteStream>>;

// An Error where the kernel refuses the backend.
Result<std::unique_ptr<runtime::Loop>> make_loop(Transport transport);
// Two ends of one connection; the first is the one that connected.
StreamPair make_pair(runtime::Loop& loop, Transport transport);

// Lets a test keep hold of the transport below a protocol that owns it.
class SharedStream final : public runtime::ByteStream {
 public:
  explicit SharedStream(std::shared_ptr<runtime::ByteStream> inner) : inner_(std::move(inner)) {}
  runtime::Task<Result<runtime::Buffer>> read() override { return inner_->read(); }
  runtime::Task<Result<void>> write(runtime::Buffer bytes) override {
    return inner_->write(std::move(bytes));
  }
  runtime::Task<Result<void>> shutdown_write() override { return inner_->shutdown_write(); }
  void abort() override { inner_->abort(); }

 private:
  std::shared_ptr<runtime::ByteStream> inner_;
};

}  // namespace weft::testing
