#pragma once

#include "ztunnel/base/ip.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace weft::learn {

struct Service;
struct Workload;

// What a client and an endpoint may have in common, as a service prefers it.
enum class Scope : uint8_t { kRegion, kZone, kSubzone, kNode, kCluster, kNetwork };
// More than there are scopes is a mistake.
constexpr size_t kScopesMax = 6;

// One way to serve one port of a service.
struct Candidate {
  const Workload* workload = nullptr;  // kept by the service's endpoints
  SocketAddress address;               // its ip is "::" where the workload is known by a name only
  uint64_t hash = 0;                   // of what it is, for session affinity
};

// The candidates for one port, made once when the service changes, so that choosing one among
// 10 000 for a connection costs two binary searches and no memory.
//
// They are sorted by what the service's scopes compare, the most important first: those that share
// the first n scopes with a client then stand side by side, whoever the client is.
class Candidates {
 public:
  // Part of the table.
  struct Range {
    size_t begin = 0;
    size_t end = 0;
    bool empty() const { return begin == end; }
  };
  // ranges[n]: those that share the first n scopes with the client; n up to the number of scopes.
  using Ranges = std::array<Range, kScopesMax + 1>;

  Candidates() = default;
  Candidates(std::vector<Candidate> candidates, std::span<const Scope> scopes);

  bool empty() const { return items_.empty(); }
  size_t size() const { return items_.size(); }
  const Candidate& operator[](size_t index) const { return items_[index]; }
  Ranges ranges_for(const Workload& client, std::span<const Scope> scopes) const;

  // One of the range that `eligible` accepts, with a probability in proportion to its workload's
  // capacity; null where there is none. Costs a binary search while most are eligible.
  template <class Eligible>
  const Candidate* pick(Range range, uint64_t random, const Eligible& eligible) const;
  // Always the same one for the same client, as long as it is there and eligible, whoever else
  // comes or goes; a newcomer takes over its fair share of clients (rendezvous hashing). Looks at
  // the whole range: about 1 ns a candidate.
  template <class Eligible>
  const Candidate* pick_for(Range range, uint64_t client, const Eligible& eligible) const;

 private:
  // Draws before the rest is searched one by one: with half of the range refusing connections, one
  // in 256 picks comes to that.
  static constexpr int kDrawsMax = 8;
  size_t at_capacity(Range range, uint64_t left) const;

  std::vector<Candidate> items_;
  std::vector<uint64_t> capacity_through_;  // the sum of capacities up to and with each
};

// The finalizer of splitmix64: spreads what differs in any bit over all of them.
constexpr uint64_t mix(uint64_t value) {
  value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9ULL;
  value = (value ^ (value >> 27)) * 0x94D049BB133111EBULL;
  return value ^ (value >> 31);
}

// The candidates of each port of a service, by the family of addresses that they are reached at.
// An endpoint with both is in both.
struct PortCandidates {
  uint16_t port = 0;
  // [0] IPv4, [1] IPv6.
  std::array<Candidates, 2> ready;
  // Pods that are ending and still serve: for when nothing else is there, as kube-proxy does.
  std::array<Candidates, 2> ending;
};
// From the service's endpoints and ports, sorted by port.
std::vector<PortCandidates> candidates_of(const Service& service);

template <class Eligible>
const Candidate* Candidates::pick(Range range, uint64_t random, const Eligible& eligible) const {
  if (range.empty()) return nullptr;
  const uint64_t before = range.begin == 0 ? 0 : capacity_through_[range.begin - 1];
  const uint64_t total = capacity_through_[range.end - 1] - before;
  size_t index = range.begin;
  for (int draw = 0; draw < kDrawsMax; ++draw) {
    index = at_capacity(range, before + random % total);
    if (eligible(items_[index])) return &items_[index];
    random = mix(random + 1);
  }
  // Most are not: the next one that is, wherever the last draw fell.
  for (size_t step = 1; step < range.end - range.begin; ++step) {
    const size_t next = range.begin + (index - range.begin + step) % (range.end - range.begin);
    if (eligible(items_[next])) return &items_[next];
  }
  return nullptr;
}

template <class Eligible>
const Candidate* Candidates::pick_for(Range range, uint64_t client,
                                      const Eligible& eligible) const {
  const Candidate* best = nullptr;
  uint64_t best_score = 0;
  for (size_t index = range.begin; index < range.end; ++index) {
    const uint64_t score = mix(items_[index].hash ^ client);
    if ((best != nullptr && score <= best_score) || !eligible(items_[index])) continue;
    best = &items_[index];
    best_score = score;
  }
  return best;
}

}  // namespace weft::learn
