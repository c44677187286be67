#pragma once

#include "ztunnel/runtime/stream.h"

#include <cstddef>
#include <list>

namespace weft::role {

// Connections of one worker whose peers have not proved who they are yet. Each costs about 40 KiB
// of TLS state, so there are kMax of them: one more, and the one that has waited longest is broken.
// An honest handshake takes milliseconds and is never the oldest for long; one that says nothing
// is.
class Handshakes {
 public:
  static constexpr size_t kMax = 512;  // 20 MiB; 50 a second would do for peers that take 10 s each

  // A connection's place among them, while its handshake lasts. `stream` outlives it.
  class Place {
   public:
    Place(Handshakes& all, runtime::ByteStream& stream) : all_(all) {
      if (all.waiting_.size() >= kMax) {
        Place* oldest = all.waiting_.front();
        oldest->leave();
        oldest->gave_way_ = true;
        oldest->stream_->abort();
      }
      stream_ = &stream;
      here_ = all.waiting_.insert(all.waiting_.end(), this);
    }
    ~Place() { leave(); }
    Place(const Place&) = delete;
    Place& operator=(const Place&) = delete;
    // Whether it was broken for another.
    bool gave_way() const { return gave_way_; }

   private:
    void leave() {
      if (stream_ == nullptr || gave_way_) return;
      all_.waiting_.erase(here_);
    }

    Handshakes& all_;
    runtime::ByteStream* stream_ = nullptr;
    std::list<Place*>::iterator here_;
    bool gave_way_ = false;
  };

  size_t waiting() const { return waiting_.size(); }

 private:
  std::list<Place*> waiting_;  // the oldest first
};

}  // namespace weft::role
