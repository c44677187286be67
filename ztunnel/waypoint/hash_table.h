#pragma once

#include "ztunnel/waypoint/backend.h"

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

// Which host a hash belongs to. Both forms keep most hashes where they are when hosts come and go.

namespace weft::waypoint {

// Ketama: every host stands at many points of a ring, and a hash belongs to the next one. Points
// are xxHash64 of "<name>_<i>", as Envoy's.
class Ring {
 public:
  // A ring of more points is 16 MB for each worker and destination.
  static constexpr uint64_t kPointsMax = 1'048'576;
  static constexpr uint64_t kPointsMin = 1024;  // where the policy says nothing

  // Of the hosts with these indexes; there is at least one.
  Ring(const std::vector<Backend>& hosts, std::span<const size_t> indexes, uint64_t points_min);

  size_t at(uint64_t hash) const;  // an index
  size_t points() const { return points_.size(); }

 private:
  std::vector<std::pair<uint64_t, uint32_t>> points_;
};

// Maglev (Eisenbud et al., NSDI 2016): a table of a prime's size that hosts fill in turns, each in
// its own order. One look finds a host.
class Maglev {
 public:
  static constexpr uint64_t kSize = 65'537;        // where the policy says nothing
  static constexpr uint64_t kSizeMax = 5'000'011;  // Istio's

  // A size that is no prime becomes the next one.
  Maglev(const std::vector<Backend>& hosts, std::span<const size_t> indexes, uint64_t size);

  size_t at(uint64_t hash) const { return table_[hash % table_.size()]; }
  size_t size() const { return table_.size(); }

 private:
  std::vector<uint32_t> table_;
};

}  // namespace weft::waypoint
