#include "ztunnel/http/piece_list.h"

#include <algorithm>
#include <utility>

namespace weft::http {

using runtime::Buffer;

void PieceList::copy(std::span<const uint8_t> bytes) {
  size_ += bytes.size();
  while (!bytes.empty()) {
    if (copied_.tail().empty()) {
      settle();
      copied_ = pool_.get();
    }
    if (!open_) {
      ranges_.push_back({pieces_.size(), copied_.size(), copied_.size()});
      pieces_.emplace_back();
      open_ = true;
    }
    const std::span<uint8_t> room = copied_.tail();
    const size_t part = std::min(room.size(), bytes.size());
    std::copy_n(bytes.data(), part, room.data());
    copied_.extend(part);
    ranges_.back().end += part;
    bytes = bytes.subspan(part);
  }
}

void PieceList::add(Buffer bytes) {
  if (bytes.size() < kShareBytesMin) return copy(bytes.bytes());
  size_ += bytes.size();
  pieces_.push_back(std::move(bytes));
  open_ = false;
}

void PieceList::settle() {
  for (const Range& range : ranges_) {
    pieces_[range.piece] = copied_.share(range.begin, range.end - range.begin);
  }
  ranges_.clear();
  copied_.clear();
  open_ = false;
}

std::span<Buffer> PieceList::pieces() {
  settle();
  return pieces_;
}

void PieceList::clear() {
  pieces_.clear();
  copied_.clear();
  ranges_.clear();
  open_ = false;
  size_ = 0;
}

}  // namespace weft::http
