#include "ztunnel/runtime/frame_pool.h"

#include "ztunnel/runtime/free_frames.h"

#include <array>
#include <new>
#include <utility>

namespace weft::runtime {
namespace {

#ifndef WEFT_SANITIZED
constexpr size_t kClassBytes = 64;
constexpr size_t kFrameBytesMax = 4096;    // larger frames are rare and go to the heap
// What a thread keeps of each class after a burst; the rest goes back. 16 of the largest: as many
// connections as open and end at once in a busy moment.
constexpr size_t kFreeBytesPerClassMax = 64 * 1024;

struct FreeFrame {
  FreeFrame* next;
};

struct FreeList {
  FreeFrame* head = nullptr;
  size_t count = 0;
};

struct FreeLists {
  std::array<FreeList, kFrameBytesMax / kClassBytes + 1> by_class;
  ~FreeLists() { clear(); }
  void clear() {
    for (FreeList& list : by_class) {
      while (list.head != nullptr) ::operator delete(std::exchange(list.head, list.head->next));
      list.count = 0;
    }
  }
};

thread_local FreeLists free_lists;

size_t class_of(size_t bytes) { return (bytes + kClassBytes - 1) / kClassBytes; }
#endif

}  // namespace

void* allocate_frame(size_t bytes) {
#ifndef WEFT_SANITIZED  // so that the sanitizers see every use after free
  if (bytes <= kFrameBytesMax) {
    FreeList& list = free_lists.by_class[class_of(bytes)];
    if (list.head != nullptr) {
      FreeFrame* frame = list.head;
      list.head = frame->next;
      --list.count;
      return frame;
    }
    return ::operator new(class_of(bytes) * kClassBytes);
  }
#endif
  return ::operator new(bytes);
}

void free_frame(void* frame, size_t bytes) noexcept {
#ifndef WEFT_SANITIZED
  if (bytes <= kFrameBytesMax) {
    FreeList& list = free_lists.by_class[class_of(bytes)];
    if (list.count * class_of(bytes) * kClassBytes < kFreeBytesPerClassMax) {
      auto* freed = static_cast<FreeFrame*>(frame);
      freed->next = list.head;
      list.head = freed;
      ++list.count;
      return;
    }
  }
#else
  static_cast<void>(bytes);
#endif
  ::operator delete(frame);
}

void drop_free_frames() noexcept {
#ifndef WEFT_SANITIZED
  free_lists.clear();
#endif
}

}  // namespace weft::runtime
