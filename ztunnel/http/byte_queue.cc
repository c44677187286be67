#include "ztunnel/http/byte_queue.h"

#include "ztunnel/base/check.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace weft::http {

using runtime::Buffer;

namespace {

constexpr size_t kPiecesKept = 16;  // an empty queue keeps room for these: 256 bytes

}  // namespace

bool ByteQueue::is_shareable(size_t length) const {
  return pieces() == 0 || (length >= kShareBytesMin && size_ < kSharedBytesMax);
}

void ByteQueue::push(const Buffer& source, size_t offset, size_t length) {
  if (length == 0) return;
  if (is_shareable(length)) {
    pieces_.push_back(source.share(offset, length));
  } else {
    pack(source.bytes().subspan(offset, length));
  }
  size_ += length;
}

void ByteQueue::push(Buffer bytes) {
  if (bytes.empty()) return;
  size_ += bytes.size();
  if (is_shareable(bytes.size())) {
    pieces_.push_back(std::move(bytes));
  } else {
    pack(bytes.bytes());
  }
}

void ByteQueue::pack(std::span<const uint8_t> bytes) {
  while (!bytes.empty()) {
    if (!pieces_.back().is_exclusive() || pieces_.back().tail().empty()) {
      pieces_.push_back(pool_.get());
    }
    Buffer& last = pieces_.back();
    const std::span<uint8_t> room = last.tail();
    const size_t part = std::min(room.size(), bytes.size());
    std::memcpy(room.data(), bytes.data(), part);
    last.extend(part);
    bytes = bytes.subspan(part);
  }
}

// Room in front is used again once all is taken, or where there is more of it than there are
// pieces.
void ByteQueue::drop_first() {
  pieces_[first_].clear();
  ++first_;
  if (first_ == pieces_.size()) {
    if (pieces_.capacity() > kPiecesKept) std::vector<Buffer>().swap(pieces_);
    pieces_.clear();
    first_ = 0;
  } else if (first_ >= kPiecesKept && 2 * first_ >= pieces_.size()) {
    pieces_.erase(pieces_.begin(), pieces_.begin() + static_cast<ptrdiff_t>(first_));
    first_ = 0;
  }
}

Buffer ByteQueue::pop() {
  CHECK(pieces() > 0);
  Buffer first = std::move(pieces_[first_]);
  drop_first();
  size_ -= first.size();
  return first;
}

void ByteQueue::take(size_t bytes, PieceList& into) {
  CHECK(bytes <= size_);
  size_ -= bytes;
  while (bytes > 0) {
    Buffer& first = pieces_[first_];
    if (first.size() > bytes) {
      into.add(first.share(0, bytes));
      first.trim_front(bytes);
      return;
    }
    bytes -= first.size();
    into.add(std::move(first));
    drop_first();
  }
}

void ByteQueue::clear() {
  pieces_.clear();
  first_ = 0;
  size_ = 0;
}

}  // namespace weft::http
