#pragma once

#include "ztunnel/runtime/frame_pool.h"

#include <cstddef>

namespace weft::runtime {

// A class whose objects come and go with each message takes its memory from the coroutines'
// pool by deriving from this.
struct Pooled {
  static void* operator new(size_t bytes) { return allocate_frame(bytes); }
  static void operator delete(void* object, size_t bytes) noexcept { free_frame(object, bytes); }
};

// The same for what a container or a shared_ptr allocates.
template <class T>
struct PooledAllocator {
  using value_type = T;
  PooledAllocator() = default;
  template <class U>
  PooledAllocator(const PooledAllocator<U>&) noexcept {}  // NOLINT: allocators convert

  T* allocate(size_t count) { return static_cast<T*>(allocate_frame(count * sizeof(T))); }
  void deallocate(T* memory, size_t count) noexcept { free_frame(memory, count * sizeof(T)); }
  bool operator==(const PooledAllocator&) const = default;
};

}  // namespace weft::runtime
