#pragma once

#include "ztunnel/base/fd.h"
#include "ztunnel/runtime/loop.h"

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace weft::role {

// One pod's connections, shared out among the workers that serve it. The kernel wakes the workers
// in turn, but one that is awake takes what came for another that is only waking up: of several
// connections that come at once it takes all. So who accepts one looks at how many each worker has
// open, and hands it over where another has fewer. To look takes no lock.
class Sharing : public std::enable_shared_from_this<Sharing> {
  struct Seat;

 public:
  // Each kind is shared out for itself: one tunnel may carry a hundred connections.
  enum class Kind : uint8_t { kOutbound, kPlain, kTunnel };
  static constexpr size_t kKinds = 3;
  // How many more than another a worker keeps: an eighth of its own, and this at most. To hand over
  // wakes another thread, and many short connections even out by themselves.
  static constexpr uint32_t kSlackMax = 4;
  // A worker that has so many handed over and not taken is stuck: it gets no more.
  static constexpr size_t kHandedOverMax = 64;

  explicit Sharing(size_t workers);
  ~Sharing();
  Sharing(const Sharing&) = delete;
  Sharing& operator=(const Sharing&) = delete;

  // Called on the worker's thread, maybe from within accepted() or leave(). The connection counts
  // as open until ended() is called for it.
  using Take = std::function<void(Kind, Fd)>;

  // One worker's place, for its own thread. A worker has one at a time that it has not left.
  class Place {
   public:
    Place(std::shared_ptr<Sharing> sharing, size_t worker, runtime::Loop& loop, Take take);
    ~Place();  // leave() must have been called
    Place(const Place&) = delete;
    Place& operator=(const Place&) = delete;

    // The connection is taken, here or by another worker.
    void accepted(Kind kind, Fd connection);
    void ended(Kind kind);
    // Nothing is handed over any more, in either direction; what was, is taken before this returns.
    void leave();

   private:
    friend class Sharing;
    std::shared_ptr<Sharing> sharing_;
    Seat& seat_;
    Take take_;
    bool left_ = false;
  };

 private:
  Seat* who_has_fewer(Seat& seat, Kind kind);
  bool hand_over(Seat& to, Kind kind, Fd& connection);

  std::vector<std::unique_ptr<Seat>> seats_;  // by worker
};

// The Sharing of each pod of this node, for as long as a worker serves it. Any thread.
class Sharings {
 public:
  explicit Sharings(size_t workers) : workers_(workers) {}
  std::shared_ptr<Sharing> of(const std::string& uid);

 private:
  size_t workers_;
  std::mutex mutex_;
  std::map<std::string, std::weak_ptr<Sharing>> by_uid_;
};

}  // namespace weft::role
