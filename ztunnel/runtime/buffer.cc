#include "ztunnel/runtime/buffer.h"

#include "ztunnel/base/check.h"

#include <cstring>
#include <new>

namespace weft::runtime {
namespace detail {

// One allocation: this head, kHeadroom, kBufferBytes and kSealRoom bytes. Aligned to a cache line,
// so that the payload is too.
struct alignas(64) BufferStorage {
  BufferPool* pool = nullptr;
  BufferStorage* next = nullptr;  // in the pool's list of free ones
  uint32_t users = 0;

  uint8_t* bytes() { return reinterpret_cast<uint8_t*>(this + 1); }
};

void retain(BufferStorage* storage) noexcept { ++storage->users; }

void release(BufferStorage* storage) noexcept {
  DCHECK(storage->users > 0);
  if (--storage->users > 0) return;
  --storage->pool->in_use_;
  storage->pool->give_back(storage);
}

}  // namespace detail

namespace {

constexpr size_t kTailEnd = Buffer::kHeadroom + BufferPool::kBufferBytes;
constexpr size_t kStorageBytes = kTailEnd + Buffer::kSealRoom;
constexpr std::align_val_t kStorageAlignment{alignof(detail::BufferStorage)};

void destroy(detail::BufferStorage* storage) noexcept {
  ::operator delete(storage, kStorageAlignment);
}

}  // namespace

uint8_t* Buffer::data() { return storage_ == nullptr ? nullptr : storage_->bytes() + begin_; }
const uint8_t* Buffer::data() const {
  return storage_ == nullptr ? nullptr : storage_->bytes() + begin_;
}

bool Buffer::is_exclusive() const { return storage_ != nullptr && storage_->users == 1; }

std::span<uint8_t> Buffer::tail() {
  if (storage_ == nullptr) return {};
  DCHECK(storage_->users == 1);
  return {storage_->bytes() + end_, end_ < kTailEnd ? kTailEnd - end_ : 0};
}

std::span<uint8_t> Buffer::seal_tail() {
  if (storage_ == nullptr) return {};
  DCHECK(storage_->users == 1);
  return {storage_->bytes() + end_, kStorageBytes - end_};
}

Buffer Buffer::share(size_t offset, size_t length) const {
  CHECK(offset <= size() && length <= size() - offset);
  if (storage_ == nullptr) return {};
  detail::retain(storage_);
  return {storage_, begin_ + offset, begin_ + offset + length};
}

void Buffer::clear() {
  if (storage_ == nullptr) return;
  detail::release(std::exchange(storage_, nullptr));
  begin_ = 0;
  end_ = 0;
}

BufferPool::~BufferPool() {
  CHECK(in_use_ == 0);
  while (free_ != nullptr) destroy(std::exchange(free_, free_->next));
}

Buffer BufferPool::get() { return adopt(take(), 0); }

Buffer BufferPool::copy_of(std::string_view text) {
  CHECK(text.size() <= kBufferBytes);
  Buffer buffer = get();
  if (!text.empty()) std::memcpy(buffer.tail().data(), text.data(), text.size());
  buffer.extend(text.size());
  return buffer;
}

detail::BufferStorage* BufferPool::take() {
  if (free_ != nullptr) {
    --free_count_;
    return std::exchange(free_, free_->next);
  }
  void* memory = ::operator new(sizeof(detail::BufferStorage) + kStorageBytes, kStorageAlignment);
  auto* storage = new (memory) detail::BufferStorage;
  storage->pool = this;
  return storage;
}

uint8_t* BufferPool::payload_of(detail::BufferStorage* storage) {
  return storage->bytes() + Buffer::kHeadroom;
}

Buffer BufferPool::adopt(detail::BufferStorage* storage, size_t bytes) {
  DCHECK(storage->pool == this && storage->users == 0 && bytes <= kBufferBytes);
  storage->users = 1;
  ++in_use_;
  return {storage, Buffer::kHeadroom, Buffer::kHeadroom + bytes};
}

void BufferPool::give_back(detail::BufferStorage* storage) noexcept {
#ifndef WEFT_SANITIZED  // so that the sanitizers see every use after free
  if (free_count_ < kFreeMax) {
    storage->next = free_;
    free_ = storage;
    ++free_count_;
    return;
  }
#endif
  destroy(storage);
}

}  // namespace weft::runtime
