#include "ztunnel/waypoint/hash_table.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

namespace weft::waypoint {
namespace {

uint64_t hash_of(const std::string& text, uint64_t seed) {
  return XXH64(text.data(), text.size(), seed);
}

bool is_prime(uint64_t number) {
  for (uint64_t divisor = 2; divisor * divisor <= number; ++divisor) {
    if (number % divisor == 0) return false;
  }
  return number > 1;
}

uint32_t weight_of(const Backend& host) { return std::max(host.weight, 1U); }

}  // namespace

Ring::Ring(const std::vector<Backend>& hosts, std::span<const size_t> indexes,
           uint64_t points_min) {
  if (points_min == 0) points_min = kPointsMin;
  points_min = std::min(points_min, kPointsMax);
  double sum = 0;
  double least = std::numeric_limits<double>::max();
  for (const size_t index : indexes) {
    sum += weight_of(hosts[index]);
    least = std::min<double>(least, weight_of(hosts[index]));
  }
  // The lightest host stands at a whole number of points, the others in proportion.
  const double scale = std::min(std::ceil(least / sum * static_cast<double>(points_min)) / least,
                                static_cast<double>(kPointsMax) / sum);
  double wanted = 0;
  double placed = 0;
  for (const size_t index : indexes) {
    wanted += scale * weight_of(hosts[index]);
    for (uint64_t i = 0; placed < wanted; ++i, ++placed) {
      points_.emplace_back(hash_of(hosts[index].name + "_" + std::to_string(i), 0),
                           static_cast<uint32_t>(index));
    }
  }
  std::ranges::sort(points_);
}

size_t Ring::at(uint64_t hash) const {
  const auto next =
      std::ranges::lower_bound(points_, hash, {}, &std::pair<uint64_t, uint32_t>::first);
  return next == points_.end() ? points_.front().second : next->second;
}

Maglev::Maglev(const std::vector<Backend>& hosts, std::span<const size_t> indexes, uint64_t size) {
  if (size == 0) size = kSize;
  size = std::clamp<uint64_t>(size, 3, kSizeMax);
  while (!is_prime(size)) ++size;
  constexpr auto kFree = std::numeric_limits<uint32_t>::max();
  table_.assign(size, kFree);
  struct Turn {
    uint32_t index;
    uint64_t at;
    uint64_t skip;
    double share;  // of the heaviest host's turns
    double target;
  };
  std::vector<Turn> turns;
  uint32_t heaviest = 1;
  for (const size_t index : indexes) heaviest = std::max(heaviest, weight_of(hosts[index]));
  for (const size_t index : indexes) {
    const double share = static_cast<double>(weight_of(hosts[index])) / heaviest;
    turns.push_back({static_cast<uint32_t>(index), hash_of(hosts[index].name, 0) % size,
                     hash_of(hosts[index].name, 1) % (size - 1) + 1, share, share});
  }
  uint64_t filled = 0;
  for (uint64_t round = 1; filled < size; ++round) {
    for (Turn& turn : turns) {
      if (filled == size) break;
      if (static_cast<double>(round) * turn.share < turn.target) continue;
      turn.target += 1;
      while (table_[turn.at] != kFree) turn.at = (turn.at + turn.skip) % size;
      table_[turn.at] = turn.index;
      ++filled;
    }
  }
}

}  // namespace weft::waypoint
