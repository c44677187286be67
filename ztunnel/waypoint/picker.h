#pragma once

#include "ztunnel/waypoint/backend.h"
#include "ztunnel/waypoint/hash_table.h"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

namespace weft::waypoint {

using Dice = std::function<uint64_t()>;  // evenly spread

// How much of its weight a host has while it warms up: from the policy's least share when it was
// first seen to all of it when the time is over (Envoy's slow start).
double warmth(const weft::route::Warmup& policy, Clock::time_point since, Clock::time_point now);

// One algorithm among the hosts of one group. `hosts` and `policy` outlive it.
class Picker {
 public:
  // Of the hosts with these indexes; there is at least one.
  Picker(const std::vector<Backend>& hosts, std::vector<size_t> indexes,
         const weft::route::Balancing& policy, Clock::time_point now, uint64_t dice);

  // An index. `hash`: of what the policy hashes on; without one, a ring gives any host.
  size_t pick(std::optional<uint64_t> hash, Clock::time_point now, const Dice& dice);

 private:
  // Earliest deadline first: a host of twice the weight comes twice as often, evenly spread.
  struct Turn {
    double due;
    uint64_t order;
    size_t index;
    bool operator>(const Turn& other) const {
      return due != other.due ? due > other.due : order > other.order;
    }
  };

  double weight(size_t index, Clock::time_point now) const;
  size_t round_robin(Clock::time_point now);
  size_t least_request(Clock::time_point now, const Dice& dice);
  size_t weighted_any(Clock::time_point now, uint64_t dice) const;
  double load(size_t index, Clock::time_point now) const;
  bool is_warm(Clock::time_point now) const { return now >= warm_at_; }

  const std::vector<Backend>& hosts_;
  std::vector<size_t> indexes_;
  const weft::route::Balancing& policy_;
  bool equal_ = true;  // all weights are
  Clock::time_point warm_at_ = Clock::time_point::min();
  std::vector<Turn> turns_;  // a heap
  uint64_t order_ = 0;
  std::optional<Ring> ring_;
  std::optional<Maglev> maglev_;
};

}  // namespace weft::waypoint
