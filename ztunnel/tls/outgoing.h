#pragma once

#include "ztunnel/runtime/buffer.h"

#include <algorithm>
#include <optional>
#include <span>
#include <utility>
#include <vector>

namespace weft::tls {

// Sealed bytes that wait to be sent, in pooled buffers; each is filled before the next is begun.
// Bounded by its users, who wait until it is empty before they add more.
class Outgoing {
 public:
  explicit Outgoing(runtime::BufferPool& pool) : pool_(pool) {}

  void append(std::span<const uint8_t> bytes) {
    while (!bytes.empty()) {
      const std::span<uint8_t> into = room(1);
      const size_t part = std::min(into.size(), bytes.size());
      std::copy_n(bytes.data(), part, into.data());
      commit(part);
      bytes = bytes.subspan(part);
    }
  }
  // At least so many bytes in one piece (a buffer's at most), to be written and then committed.
  std::span<uint8_t> room(size_t bytes) {
    if (waiting_.empty() || waiting_.back().seal_tail().size() < bytes) {
      waiting_.push_back(pool_.get());
    }
    return waiting_.back().seal_tail();
  }
  void commit(size_t bytes) { waiting_.back().extend(bytes); }
  std::optional<runtime::Buffer> take() {
    if (waiting_.empty()) return std::nullopt;
    runtime::Buffer first = std::move(waiting_.front());
    waiting_.erase(waiting_.begin());  // one of a few
    return first;
  }

 private:
  runtime::BufferPool& pool_;
  std::vector<runtime::Buffer> waiting_;
};

}  // namespace weft::tls
