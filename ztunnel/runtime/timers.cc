#include "ztunnel/runtime/timers.h"

#include <utility>

namespace weft::runtime {

uint64_t TimerQueue::add(Clock::time_point deadline, Call call) {
  uint32_t slot = 0;
  if (free_.empty()) {
    slot = static_cast<uint32_t>(slots_.size());
    slots_.emplace_back();
  } else {
    slot = free_.back();
    free_.pop_back();
  }
  slots_[slot].deadline = deadline;
  slots_[slot].sequence = next_sequence_++;
  slots_[slot].call = std::move(call);
  heap_.push_back(slot);
  slots_[slot].heap_index = static_cast<uint32_t>(heap_.size() - 1);
  sift_up(slots_[slot].heap_index);
  return (uint64_t{slots_[slot].generation} << 32) | slot;
}

void TimerQueue::remove(uint64_t id) {
  const auto slot = static_cast<uint32_t>(id);
  if (slot >= slots_.size() || slots_[slot].generation != id >> 32) return;
  const Call dropped = take(slot);  // destroyed last: what it owns may remove timers itself
}

std::optional<TimerQueue::Clock::time_point> TimerQueue::earliest() const {
  if (heap_.empty()) return std::nullopt;
  return slots_[heap_.front()].deadline;
}

void TimerQueue::run_due(Clock::time_point now) {
  const uint64_t end = next_sequence_;
  while (!heap_.empty()) {
    const Slot& first = slots_[heap_.front()];
    // A call may have added one that is due before others that were due already: they wait for the
    // next turn, which comes at once. Going on could go on for ever.
    if (first.deadline > now || first.sequence >= end) return;
    Call call = take(heap_.front());
    call();
  }
}

bool TimerQueue::is_before(uint32_t left, uint32_t right) const {
  const Slot& a = slots_[left];
  const Slot& b = slots_[right];
  return a.deadline != b.deadline ? a.deadline < b.deadline : a.sequence < b.sequence;
}

void TimerQueue::place(uint32_t heap_index, uint32_t slot) {
  heap_[heap_index] = slot;
  slots_[slot].heap_index = heap_index;
}

void TimerQueue::sift_up(uint32_t heap_index) {
  const uint32_t slot = heap_[heap_index];
  while (heap_index > 0) {
    const uint32_t parent = (heap_index - 1) / 2;
    if (!is_before(slot, heap_[parent])) break;
    place(heap_index, heap_[parent]);
    heap_index = parent;
  }
  place(heap_index, slot);
}

void TimerQueue::sift_down(uint32_t heap_index) {
  const uint32_t slot = heap_[heap_index];
  while (true) {
    uint32_t child = 2 * heap_index + 1;
    if (child >= heap_.size()) break;
    if (child + 1 < heap_.size() && is_before(heap_[child + 1], heap_[child])) ++child;
    if (!is_before(heap_[child], slot)) break;
    place(heap_index, heap_[child]);
    heap_index = child;
  }
  place(heap_index, slot);
}

TimerQueue::Call TimerQueue::take(uint32_t slot) {
  Call call = std::move(slots_[slot].call);
  slots_[slot].call = nullptr;
  if (++slots_[slot].generation == 0) slots_[slot].generation = 1;  // so that no id is ever 0
  const uint32_t hole = slots_[slot].heap_index;
  const uint32_t last = heap_.back();
  heap_.pop_back();
  if (last != slot) {
    place(hole, last);
    sift_up(hole);
    sift_down(slots_[last].heap_index);
  }
  free_.push_back(slot);
  return call;
}

}  // namespace weft::runtime
