#pragma once

#include "ztunnel/http/piece_list.h"
#include "ztunnel/runtime/buffer.h"

#include <cstddef>
#include <span>
#include <vector>

namespace weft::http {

// The bytes that wait in one direction of one stream. What comes while nothing waits is shared, not
// copied. What comes behind others is packed where it is small, so that a peer that sends a byte a
// frame cannot pin a whole storage with each: the storages that N waiting bytes hold are bounded by
// kSharedBytesMax / kShareBytesMin + 2 N / BufferPool::kBufferBytes, plus a few.
class ByteQueue {
 public:
  // Pieces below this are copied behind the last one where there is room.
  static constexpr size_t kShareBytesMin = 4096;
  // A queue this long has a reader that is late; what comes then is packed, whatever its size.
  static constexpr size_t kSharedBytesMax = 256 * 1024;

  explicit ByteQueue(runtime::BufferPool& pool) : pool_(pool) {}

  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  size_t pieces() const { return pieces_.size() - first_; }

  // Takes source[offset .. offset+length).
  void push(const runtime::Buffer& source, size_t offset, size_t length);
  void push(runtime::Buffer bytes);
  runtime::Buffer pop();                     // the first piece; only where the queue is not empty
  void take(size_t bytes, PieceList& into);  // the first so many, which are there
  void clear();

 private:
  bool is_shareable(size_t length) const;
  void pack(std::span<const uint8_t> bytes);

  runtime::BufferPool& pool_;
  void drop_first();

  // From first_ on. A deque would take 600 bytes of every stream that waits.
  std::vector<runtime::Buffer> pieces_;
  size_t first_ = 0;
  size_t size_ = 0;
};

}  // namespace weft::http
