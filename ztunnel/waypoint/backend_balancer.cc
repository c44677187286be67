#include "ztunnel/waypoint/backend_balancer.h"

#include <algorithm>
#include <utility>

namespace weft::waypoint {
namespace {

using weft::route::Balancing;

bool by_hash(const Balancing& policy) {
  return policy.algorithm() == Balancing::RING_HASH || policy.algorithm() == Balancing::MAGLEV;
}

}  // namespace

void BackendBalancer::update(std::vector<Backend> hosts, const weft::route::Traffic& traffic,
                             const Place& own, Clock::time_point now, const Dice& dice) {
  ready_.clear();  // looks into the old ones
  hosts_ = std::move(hosts);
  traffic_ = traffic;
  levels_ = arrange(hosts_, traffic_.balancing().locality(), traffic_.has_outlier(), own);
  refresh(now, dice);
}

bool BackendBalancer::is_healthy(size_t index) const {
  return hosts_[index].health == nullptr || !hosts_[index].health->is_ejected();
}

BackendBalancer::ReadyLevel BackendBalancer::ready(const Level& level, bool all,
                                                   Clock::time_point now, const Dice& dice) const {
  ReadyLevel made;
  for (const Group& group : level.groups) {
    std::vector<size_t> usable;
    for (const size_t index : group.hosts) {
      if (all || is_healthy(index)) usable.push_back(index);
    }
    if (usable.empty()) continue;
    made.hosts.insert(made.hosts.end(), usable.begin(), usable.end());
    const size_t percent =
        std::min<size_t>(100, kOverprovisioning * usable.size() / group.hosts.size());
    const auto share = static_cast<uint32_t>(std::max<size_t>(1, group.weight * percent));
    made.sum += share;
    made.groups.push_back(
        {share, Picker(hosts_, std::move(usable), traffic_.balancing(), now, dice())});
  }
  return made;
}

void BackendBalancer::refresh(Clock::time_point now, const Dice& dice) {
  ready_.clear();
  std::vector<uint32_t> healthy;  // percent of each level
  uint32_t able = 0;              // percent of all requests that can be taken
  for (const Level& level : levels_) {
    size_t all = 0;
    size_t good = 0;
    for (const Group& group : level.groups) {
      all += group.hosts.size();
      good += static_cast<size_t>(
          std::ranges::count_if(group.hosts, [this](size_t index) { return is_healthy(index); }));
    }
    healthy.push_back(static_cast<uint32_t>(good * 100 / all));
    able += std::min(100U, static_cast<uint32_t>(kOverprovisioning * good / all));
  }
  const uint32_t panic = able >= 100 ? 0 : traffic_.outlier().health_percent_min();
  uint32_t left = 100;
  for (size_t i = 0; i < levels_.size() && left > 0; ++i) {
    const bool everybody = healthy[i] < panic;
    ReadyLevel level = ready(levels_[i], everybody, now, dice);
    if (level.groups.empty()) continue;
    size_t all = 0;
    for (const Group& group : levels_[i].groups) all += group.hosts.size();
    const size_t can = kOverprovisioning * level.hosts.size() / all;
    level.percent = std::min(left, static_cast<uint32_t>(std::clamp<size_t>(can, 1, 100)));
    left -= level.percent;
    ready_.push_back(std::move(level));
  }
}

std::optional<size_t> BackendBalancer::choose(const Wish& wish, Clock::time_point now,
                                              const Dice& dice) {
  if (ready_.empty()) return std::nullopt;
  const Balancing& policy = traffic_.balancing();
  if (policy.algorithm() == Balancing::PASSTHROUGH && !wish.exactly.empty()) {
    for (const ReadyLevel& level : ready_) {
      for (const size_t index : level.hosts) {
        if (hosts_[index].name == wish.exactly) return index;
      }
    }
  }
  const std::vector<char> without = tried_levels(wish);
  size_t chosen = once(wish, without, now, dice);
  if (wish.avoid.empty() || by_hash(policy)) return chosen;
  const auto was_tried = [&](size_t index) {
    return std::ranges::count(wish.avoid, hosts_[index].name) > 0;
  };
  for (int choices = 1; choices < kChoicesMax && was_tried(chosen); ++choices) {
    chosen = once(wish, without, now, dice);
  }
  return chosen;
}

// One flag for each ready level: whether it had two tries already and another one has not.
std::vector<char> BackendBalancer::tried_levels(const Wish& wish) const {
  if (!wish.other_places || wish.avoid.size() < 2 || ready_.size() < 2) return {};
  std::vector<char> tried(ready_.size(), 0);
  for (size_t i = 0; i < ready_.size(); ++i) {
    tried[i] = std::ranges::any_of(ready_[i].hosts, [&](size_t index) {
      return std::ranges::count(wish.avoid, hosts_[index].name) > 0;
    });
  }
  if (std::ranges::count(tried, 0) == 0) return {};
  return tried;
}

size_t BackendBalancer::once(const Wish& wish, std::span<const char> without, Clock::time_point now,
                             const Dice& dice) {
  const auto is_out = [&](size_t level) { return !without.empty() && without[level] != 0; };
  ReadyLevel* level = &ready_.front();
  if (ready_.size() > 1) {
    uint64_t sum = 0;
    for (size_t i = 0; i < ready_.size(); ++i) sum += is_out(i) ? 0 : ready_[i].percent;
    // With a hash the level follows from it too: the same client stays where it is.
    uint64_t left = (wish.hash ? *wish.hash >> 32 : dice()) % sum;
    for (size_t i = 0; i < ready_.size(); ++i) {
      if (is_out(i)) continue;
      level = &ready_[i];
      if (left < ready_[i].percent) break;
      left -= ready_[i].percent;
    }
  }
  ReadyGroup* group = &level->groups.front();
  if (level->groups.size() > 1) {
    uint64_t left = (wish.hash ? *wish.hash >> 16 : dice()) % level->sum;
    for (ReadyGroup& one : level->groups) {
      group = &one;
      if (left < one.share) break;
      left -= one.share;
    }
  }
  return group->picker.pick(wish.hash, now, dice);
}

}  // namespace weft::waypoint
