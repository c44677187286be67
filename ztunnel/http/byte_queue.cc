#include "ztunnel/http/byte_queue.h"

#include "ztunnel/base/check.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace weft::http {

using runtime::Buffer;

bool ByteQueue::is_shareable(size_t length) const {
  return pieces_.empty() || (length >= kShareBytesMin && size_ < kSharedBytesMax);
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

Buffer ByteQueue::pop() {
  CHECK(!pieces_.empty());
  Buffer first = std::move(pieces_.front());
  pieces_.pop_front();
  size_ -= first.size();
  return first;
}

void ByteQueue::copy_to(std::span<uint8_t> into) {
  CHECK(into.size() <= size_);
  size_ -= into.size();
  while (!into.empty()) {
    Buffer& first = pieces_.front();
    const size_t part = std::min(first.size(), into.size());
    std::memcpy(into.data(), first.data(), part);
    first.trim_front(part);
    into = into.subspan(part);
    if (first.empty()) pieces_.pop_front();
  }
}

void ByteQueue::clear() {
  pieces_.clear();
  size_ = 0;
}

}  // namespace weft::http
