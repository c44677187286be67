#pragma once

#include "ztunnel/base/check.h"
#include "ztunnel/runtime/loop.h"

#include <poll.h>

#include <utility>
#include <vector>

namespace weft::runtime {

// First in, first out, through Operation::next: what has completed and is to be resumed, or what
// waits for room.
class OperationList {
 public:
  bool empty() const { return first_ == nullptr; }
  void push(Operation& operation) {
    operation.next = nullptr;
    (first_ == nullptr ? first_ : last_->next) = &operation;
    last_ = &operation;
  }
  Operation& pop() {
    Operation& operation = *first_;
    first_ = operation.next;
    return operation;
  }
  // Resumes the waiter of each; what is pushed meanwhile stays for the next time.
  void resume_all() {
    OperationList batch = std::exchange(*this, {});
    while (!batch.empty()) batch.pop().waiter.resume();
  }

 private:
  Operation* first_ = nullptr;
  Operation* last_ = nullptr;
};

// The operations that wait, by descriptor: at most one for each direction. Costs 16 bytes for each
// descriptor number up to the highest in use.
class PendingTable {
 public:
  struct Slot {
    Operation* in = nullptr;
    Operation* out = nullptr;
  };

  void add(Operation& operation) {
    const auto index = static_cast<size_t>(operation.fd);
    if (index >= slots_.size()) slots_.resize(index + 1);
    Slot& slot = slots_[index];
    if (waits_for_input(operation)) {
      CHECK(slot.in == nullptr);  // two readers of one descriptor
      slot.in = &operation;
    }
    if (waits_for_output(operation)) {
      CHECK(slot.out == nullptr);  // two writers of one descriptor
      slot.out = &operation;
    }
  }
  void remove(const Operation& operation) {
    Slot& slot = slots_[static_cast<size_t>(operation.fd)];
    if (slot.in == &operation) slot.in = nullptr;
    if (slot.out == &operation) slot.out = nullptr;
  }
  Slot of(int fd) const {
    const auto index = static_cast<size_t>(fd);
    return fd >= 0 && index < slots_.size() ? slots_[index] : Slot{};
  }

 private:
  static bool waits_for_input(const Operation& operation) {
    return operation.kind == Operation::Kind::kAccept ||
           operation.kind == Operation::Kind::kReceive ||
           (operation.kind == Operation::Kind::kPoll && (operation.poll_events & POLLOUT) == 0) ||
           (operation.kind == Operation::Kind::kPoll && (operation.poll_events & POLLIN) != 0);
  }
  static bool waits_for_output(const Operation& operation) {
    return operation.kind == Operation::Kind::kConnect ||
           operation.kind == Operation::Kind::kSend ||
           (operation.kind == Operation::Kind::kPoll && (operation.poll_events & POLLOUT) != 0);
  }

  std::vector<Slot> slots_;
};

}  // namespace weft::runtime
