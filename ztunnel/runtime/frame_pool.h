#pragma once

#include <cstddef>

namespace weft::runtime {

// Memory for coroutine frames: free lists by size class, one set a thread, so that a warm data path
// allocates nothing from the heap. A frame may be freed on another thread than it came from.
void* allocate_frame(size_t bytes);
void free_frame(void* frame, size_t bytes) noexcept;

}  // namespace weft::runtime
