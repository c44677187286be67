#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>

namespace weft::runtime {

class BufferPool;

namespace detail {
struct BufferStorage;
void retain(BufferStorage* storage) noexcept;
void release(BufferStorage* storage) noexcept;
}  // namespace detail

// The house's one buffer: a range of bytes in pooled storage. Several Buffers may share a storage
// (a record that holds two frames); the storage goes back to its pool with the last of them.
// Belongs to one thread; the count is not atomic. An empty, default-made Buffer means "end of
// stream" where a read returns it.
//
//   | headroom | data() .. data()+size() | tailroom |
//
// A fresh buffer has kHeadroom bytes in front, for frame and record headers written in place, and
// behind its tail() kSealRoom more, so that a full buffer sealed into another fits it.
class Buffer {
 public:
  static constexpr size_t kHeadroom = 64;
  // Four TLS 1.3 records of 16 KiB are 88 bytes longer than what they carry, five are 110. A buffer
  // that did not fit would leave in two sends, the second one of a few bytes.
  static constexpr size_t kSealRoom = 128;

  Buffer() = default;
  Buffer(Buffer&& other) noexcept
      : storage_(std::exchange(other.storage_, nullptr)),
        begin_(std::exchange(other.begin_, 0)),
        end_(std::exchange(other.end_, 0)) {}
  Buffer& operator=(Buffer&& other) noexcept {
    if (this != &other) {
      clear();
      storage_ = std::exchange(other.storage_, nullptr);
      begin_ = std::exchange(other.begin_, 0);
      end_ = std::exchange(other.end_, 0);
    }
    return *this;
  }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  ~Buffer() { clear(); }

  uint8_t* data();
  const uint8_t* data() const;
  size_t size() const { return end_ - begin_; }
  bool empty() const { return begin_ == end_; }
  std::span<const uint8_t> bytes() const { return {data(), size()}; }
  std::string_view text() const { return {reinterpret_cast<const char*>(data()), size()}; }

  // What may be written behind the data: fill it, then call extend(). Only where this Buffer is the
  // storage's only user.
  std::span<uint8_t> tail();
  std::span<uint8_t> seal_tail();  // tail() and kSealRoom more
  void extend(size_t bytes) { end_ += static_cast<uint32_t>(bytes); }
  // Bytes in front of data() that a header may be written into (data() - n), then called part of
  // the data. They are free only as long as no other Buffer shares the storage in front of this.
  size_t headroom() const { return begin_; }
  void extend_front(size_t bytes) { begin_ -= static_cast<uint32_t>(bytes); }
  void trim_front(size_t bytes) { begin_ += static_cast<uint32_t>(bytes); }
  void trim_to(size_t bytes) { end_ = begin_ + static_cast<uint32_t>(bytes); }
  // Whether no other Buffer shares the storage: tail() may then be used.
  bool is_exclusive() const;
  // Another Buffer over data()[offset .. offset+length), sharing the storage.
  Buffer share(size_t offset, size_t length) const;
  void clear();

 private:
  friend class BufferPool;
  Buffer(detail::BufferStorage* storage, size_t begin, size_t end)
      : storage_(storage), begin_(static_cast<uint32_t>(begin)), end_(static_cast<uint32_t>(end)) {}

  detail::BufferStorage* storage_ = nullptr;
  uint32_t begin_ = 0;
  uint32_t end_ = 0;
};

// Where a loop's buffers come from: storages of one size, reused last in first out so that the ones
// in use stay in cache. Grows on demand, keeps at most kFreeMax free ones. One pool a loop.
class BufferPool {
 public:
  // 64 KiB of payload: four full TLS records; smaller reads cost a third of the throughput
  // (measured: 16 KiB against 128 KiB reads in a sealing relay).
  static constexpr size_t kBufferBytes = 64 * 1024;
  static constexpr size_t kFreeMax = 32;  // 2 MiB: what stays in a core's cache

  BufferPool() = default;
  BufferPool(const BufferPool&) = delete;
  BufferPool& operator=(const BufferPool&) = delete;
  ~BufferPool();  // every Buffer of this pool must be gone

  Buffer get();                              // empty, with headroom; tail() is kBufferBytes long
  Buffer copy_of(std::string_view text);     // at most kBufferBytes
  size_t in_use() const { return in_use_; }  // storages that Buffers hold

  // For a backend that lends storages to the kernel: they count as in use only once they carry
  // bytes. take() and then adopt() or give_back().
  detail::BufferStorage* take();
  static uint8_t* payload_of(detail::BufferStorage* storage);  // kBufferBytes, behind the headroom
  Buffer adopt(detail::BufferStorage* storage, size_t bytes);
  void give_back(detail::BufferStorage* storage) noexcept;

 private:
  friend void detail::release(detail::BufferStorage*) noexcept;
  detail::BufferStorage* free_ = nullptr;
  size_t free_count_ = 0;
  size_t in_use_ = 0;
};

}  // namespace weft::runtime
