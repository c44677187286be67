#include "ztunnel/role/sharing.h"

#include "ztunnel/base/check.h"

#include <algorithm>
#include <utility>

namespace weft::role {
namespace {

constexpr size_t kCacheLineBytes = 64;

struct Handed {
  Sharing::Kind kind;
  Fd connection;
};

}  // namespace

// Each on a cache line of its own: its worker writes it for every connection.
struct alignas(kCacheLineBytes) Sharing::Seat {
  std::array<std::atomic<uint32_t>, kKinds> open{};
  std::atomic<bool> present{false};
  Place* place = nullptr;         // while present; for the worker's thread
  runtime::Loop* loop = nullptr;  // while present
  std::mutex mutex;               // of what follows, and of present's changes
  std::vector<Handed> handed_over;

  std::atomic<uint32_t>& open_of(Kind kind) { return open[static_cast<size_t>(kind)]; }
  std::vector<Handed> take_handed_over() {
    const std::scoped_lock lock(mutex);
    return std::exchange(handed_over, {});
  }
};

Sharing::Sharing(size_t workers) {
  for (size_t i = 0; i < workers; ++i) seats_.push_back(std::make_unique<Seat>());
}

Sharing::~Sharing() = default;

// Null: nobody has so many fewer that it is worth it.
Sharing::Seat* Sharing::who_has_fewer(Seat& seat, Kind kind) {
  const uint32_t own = seat.open_of(kind).load(std::memory_order_relaxed);
  Seat* fewest = nullptr;
  uint32_t few = own - std::min(own / 8, kSlackMax);
  for (const std::unique_ptr<Seat>& other : seats_) {
    if (other.get() == &seat || !other->present.load(std::memory_order_relaxed)) continue;
    const uint32_t open = other->open_of(kind).load(std::memory_order_relaxed);
    if (open >= few) continue;
    few = open;
    fewest = other.get();
  }
  return fewest;
}

bool Sharing::hand_over(Seat& to, Kind kind, Fd& connection) {
  const std::scoped_lock lock(to.mutex);
  if (!to.present || to.handed_over.size() >= kHandedOverMax) return false;
  to.open_of(kind).fetch_add(1, std::memory_order_relaxed);
  to.handed_over.push_back({kind, std::move(connection)});
  if (to.handed_over.size() > 1) return true;  // it has been told
  // Under the lock: while it is present its loop is there. It may have left, and so have taken
  // them, before its loop comes to this.
  to.loop->post([sharing = shared_from_this(), &to] {
    for (Handed& one : to.take_handed_over()) to.place->take_(one.kind, std::move(one.connection));
  });
  return true;
}

Sharing::Place::Place(std::shared_ptr<Sharing> sharing, size_t worker, runtime::Loop& loop,
                      Take take)
    : sharing_(std::move(sharing)), seat_(*sharing_->seats_.at(worker)), take_(std::move(take)) {
  const std::scoped_lock lock(seat_.mutex);
  CHECK(!seat_.present);
  seat_.place = this;
  seat_.loop = &loop;
  seat_.present = true;
}

Sharing::Place::~Place() { CHECK(left_); }

void Sharing::Place::accepted(Kind kind, Fd connection) {
  Seat* other = left_ ? nullptr : sharing_->who_has_fewer(seat_, kind);
  if (other != nullptr && sharing_->hand_over(*other, kind, connection)) return;
  seat_.open_of(kind).fetch_add(1, std::memory_order_relaxed);
  take_(kind, std::move(connection));
}

void Sharing::Place::ended(Kind kind) {
  seat_.open_of(kind).fetch_sub(1, std::memory_order_relaxed);
}

void Sharing::Place::leave() {
  if (std::exchange(left_, true)) return;
  {
    const std::scoped_lock lock(seat_.mutex);
    seat_.present = false;
  }
  for (Handed& one : seat_.take_handed_over()) take_(one.kind, std::move(one.connection));
}

std::shared_ptr<Sharing> Sharings::of(const std::string& uid) {
  const std::scoped_lock lock(mutex_);
  if (const auto known = by_uid_.find(uid); known != by_uid_.end()) {
    if (std::shared_ptr<Sharing> sharing = known->second.lock()) return sharing;
  }
  std::erase_if(by_uid_, [](const auto& entry) { return entry.second.expired(); });
  auto sharing = std::make_shared<Sharing>(workers_);
  by_uid_[uid] = sharing;
  return sharing;
}

}  // namespace weft::role
