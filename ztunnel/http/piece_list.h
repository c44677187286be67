#pragma once

#include "ztunnel/runtime/buffer.h"

#include <cstdint>
#include <span>
#include <vector>

namespace weft::http {

// Bytes in their order, gathered to be sent in one go. What is small is copied together, what is
// large stays where it lies: a frame's header and its payload become two pieces.
class PieceList {
 public:
  // From here on a piece is worth the storage that it keeps and what a piece costs its sender.
  static constexpr size_t kShareBytesMin = 2048;

  explicit PieceList(runtime::BufferPool& pool) : pool_(pool) {}

  size_t size() const { return size_; }  // bytes
  bool empty() const { return size_ == 0; }
  void copy(std::span<const uint8_t> bytes);
  void add(runtime::Buffer bytes);
  // What was gathered since the last clear(), until then; nothing is to be added in between.
  std::span<runtime::Buffer> pieces();
  void clear();

 private:
  // Of copied_, which becomes pieces_[piece]; it cannot be shared while it is written to.
  struct Range {
    size_t piece = 0;
    size_t begin = 0;
    size_t end = 0;
  };
  void settle();

  runtime::BufferPool& pool_;
  std::vector<runtime::Buffer> pieces_;
  runtime::Buffer copied_;
  std::vector<Range> ranges_;
  bool open_ = false;  // the last piece is the last of ranges_
  size_t size_ = 0;
};

}  // namespace weft::http
