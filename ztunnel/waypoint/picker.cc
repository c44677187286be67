#include "ztunnel/waypoint/picker.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace weft::waypoint {

using weft::route::Balancing;

double warmth(const weft::route::Warmup& policy, Clock::time_point since, Clock::time_point now) {
  const std::chrono::duration<double, std::milli> elapsed = now - since;
  if (elapsed.count() >= policy.duration_ms()) return 1;
  const double least = std::max(policy.minimum_percent(), 1U) / 100.0;
  const double aggression = policy.aggression() > 0 ? policy.aggression() : 1;
  const double time = std::max(elapsed.count(), 0.0) / policy.duration_ms();
  return std::clamp(std::pow(time, 1 / aggression), least, 1.0);
}

Picker::Picker(const std::vector<Backend>& hosts, std::vector<size_t> indexes,
               const Balancing& policy, Clock::time_point now, uint64_t dice)
    : hosts_(hosts), indexes_(std::move(indexes)), policy_(policy) {
  for (const size_t index : indexes_) {
    equal_ = equal_ && hosts_[index].weight == hosts_[indexes_.front()].weight;
    const auto warm = std::chrono::milliseconds(policy_.warmup().duration_ms());
    warm_at_ = std::max(warm_at_, hosts_[index].since + warm);
  }
  switch (policy_.algorithm()) {
    case Balancing::RING_HASH:
      ring_.emplace(hosts_, indexes_, policy_.table_size());
      break;
    case Balancing::MAGLEV:
      maglev_.emplace(hosts_, indexes_, policy_.table_size());
      break;
    case Balancing::ROUND_ROBIN:
      // Workers, and those that come after a change, do not all begin with the same host.
      std::ranges::rotate(indexes_,
                          indexes_.begin() + static_cast<ptrdiff_t>(dice % indexes_.size()));
      for (const size_t index : indexes_) {
        turns_.push_back({1 / weight(index, now), order_++, index});
      }
      std::ranges::make_heap(turns_, std::greater<>());
      break;
    default:
      break;
  }
}

size_t Picker::pick(std::optional<uint64_t> hash, Clock::time_point now, const Dice& dice) {
  if (indexes_.size() == 1) return indexes_.front();
  switch (policy_.algorithm()) {
    case Balancing::RING_HASH:
      return ring_->at(hash ? *hash : dice());
    case Balancing::MAGLEV:
      return maglev_->at(hash ? *hash : dice());
    case Balancing::ROUND_ROBIN:
      return round_robin(now);
    case Balancing::RANDOM:
    case Balancing::PASSTHROUGH:
      return indexes_[dice() % indexes_.size()];
    default:
      return least_request(now, dice);
  }
}

double Picker::weight(size_t index, Clock::time_point now) const {
  const double whole = std::max(hosts_[index].weight, 1U);
  if (policy_.warmup().duration_ms() == 0) return whole;
  return whole * warmth(policy_.warmup(), hosts_[index].since, now);
}

size_t Picker::round_robin(Clock::time_point now) {
  std::ranges::pop_heap(turns_, std::greater<>());
  Turn& turn = turns_.back();
  const size_t index = turn.index;
  turn.due += 1 / weight(index, now);
  turn.order = order_++;
  std::ranges::push_heap(turns_, std::greater<>());
  return index;
}

double Picker::load(size_t index, Clock::time_point now) const {
  const Backend& host = hosts_[index];
  const size_t active = host.active == nullptr ? 0 : *host.active;
  return static_cast<double>(active) / weight(index, now);
}

// The less busy one of two that chance names. Weights decide how often chance names a host, and how
// busy it counts as.
size_t Picker::least_request(Clock::time_point now, const Dice& dice) {
  if (equal_ && is_warm(now)) {
    const size_t count = indexes_.size();
    const size_t one = dice() % count;
    const size_t other = (one + 1 + dice() % (count - 1)) % count;
    const auto active = [&](size_t at) {
      const size_t* counted = hosts_[indexes_[at]].active;
      return counted == nullptr ? 0 : *counted;
    };
    return indexes_[active(other) < active(one) ? other : one];
  }
  const size_t one = weighted_any(now, dice());
  const size_t other = weighted_any(now, dice());
  return load(other, now) < load(one, now) ? other : one;
}

size_t Picker::weighted_any(Clock::time_point now, uint64_t dice) const {
  double sum = 0;
  for (const size_t index : indexes_) sum += weight(index, now);
  constexpr double kWhole = 0x1p53;
  double left = static_cast<double>(dice >> 11) / kWhole * sum;
  for (const size_t index : indexes_) {
    left -= weight(index, now);
    if (left < 0) return index;
  }
  return indexes_.back();
}

}  // namespace weft::waypoint
