#pragma once

#include "ztunnel/runtime/free_frames.h"
#include "ztunnel/runtime/loop.h"

#include <malloc.h>

#include <algorithm>
#include <cstddef>
#include <utility>

namespace weft::role {

// Gives back to the system what many connections took, once most of them have ended: the heap keeps
// it otherwise, because something small lives on in nearly every block. A trim takes some
// milliseconds for tens of megabytes, so it is made a while after the wave has passed, and not for
// a few connections. Belongs to a worker's thread.
class MemoryTrimmer {
 public:
  static constexpr size_t kConnectionsMin = 256;  // some megabytes
  static constexpr std::chrono::milliseconds kDelay{1'000};

  MemoryTrimmer() = default;
  ~MemoryTrimmer() {
    if (loop_ != nullptr) loop_->unschedule(timer_);
  }
  MemoryTrimmer(const MemoryTrimmer&) = delete;
  MemoryTrimmer& operator=(const MemoryTrimmer&) = delete;

  void connection_opened() { peak_ = std::max(peak_, ++open_); }
  void connection_ended(runtime::Loop& loop) {
    --open_;
    if (timer_ != 0 || peak_ < kConnectionsMin || open_ > peak_ / 2) return;
    loop_ = &loop;
    timer_ = loop.schedule(kDelay, [this] {
      timer_ = 0;
      peak_ = open_;
      runtime::drop_free_frames();
      malloc_trim(0);
    });
  }

 private:
  size_t open_ = 0;
  size_t peak_ = 0;  // since the last trim
  runtime::Loop* loop_ = nullptr;
  runtime::TimerId timer_ = 0;
};

}  // namespace weft::role
