#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

namespace weft::runtime {

// Timers of one thread: a binary heap over slots that are used again, so that arming and disarming
// a deadline for every connection allocates nothing once warm. An id names a slot and how often it
// has been used; one whose timer has fired or was removed is known to be stale.
class TimerQueue {
 public:
  using Clock = std::chrono::steady_clock;
  using Call = std::move_only_function<void()>;

  uint64_t add(Clock::time_point deadline, Call call);  // never 0
  void remove(uint64_t id);                             // unknown or stale: does nothing
  std::optional<Clock::time_point> earliest() const;
  // Calls what is due at `now`, earliest first and then in the order of add(); a timer that a call
  // adds waits for the next time.
  void run_due(Clock::time_point now);
  size_t size() const { return heap_.size(); }

 private:
  struct Slot {
    Clock::time_point deadline;
    uint64_t sequence = 0;
    Call call;
    uint32_t generation = 1;
    uint32_t heap_index = 0;
  };

  bool is_before(uint32_t left, uint32_t right) const;
  void place(uint32_t heap_index, uint32_t slot);
  void sift_up(uint32_t heap_index);
  void sift_down(uint32_t heap_index);
  Call take(uint32_t slot);  // out of the heap; the slot becomes free

  std::vector<Slot> slots_;
  std::vector<uint32_t> free_;
  std::vector<uint32_t> heap_;  // of slot numbers
  uint64_t next_sequence_ = 0;
};

}  // namespace weft::runtime
