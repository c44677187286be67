#include "ztunnel/learn/candidates.h"

#include "ztunnel/learn/state.h"

#include <algorithm>
#include <map>
#include <optional>

namespace weft::learn {
namespace {

std::string_view at_scope(const Workload& workload, Scope scope) {
  switch (scope) {
    case Scope::kRegion:
      return workload.locality.region;
    case Scope::kZone:
      return workload.locality.zone;
    case Scope::kSubzone:
      return workload.locality.subzone;
    case Scope::kNode:
      return workload.node;
    case Scope::kCluster:
      return workload.cluster_id;
    case Scope::kNetwork:
      return workload.network;
  }
  return {};
}

bool precedes(const Candidate& one, const Candidate& other, std::span<const Scope> scopes) {
  for (const Scope scope : scopes) {
    const int order = at_scope(*one.workload, scope).compare(at_scope(*other.workload, scope));
    if (order != 0) return order < 0;
  }
  const int order = one.workload->uid.compare(other.workload->uid);
  return order != 0 ? order < 0 : one.address < other.address;
}

// FNV-1a: the same in every ztunnel, which std::hash need not be.
uint64_t hash_of(std::string_view text) {
  uint64_t hash = 0xcbf29ce484222325ULL;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3ULL;
  return mix(hash);
}

bool takes(IpFamilies families, const IpAddress& ip) {
  if (families == IpFamilies::kV4) return ip.is_v4();
  if (families == IpFamilies::kV6) return !ip.is_v4();
  return true;
}

enum class Use { kNever, kReady, kEnding };

Use use_of(const Service& service, const Workload& workload) {
  if (workload.capacity == 0 || workload.other_network) return Use::kNever;
  if (workload.healthy || service.balancing.unready_too) return Use::kReady;
  return workload.serving_while_terminating ? Use::kEnding : Use::kNever;
}

struct Gathered {
  std::array<std::vector<Candidate>, 2> ready;
  std::array<std::vector<Candidate>, 2> ending;
};

void gather(const Service& service, const Endpoint& endpoint,
            std::map<uint16_t, Gathered>& by_port) {
  const Workload& workload = *endpoint.workload;
  const Use use = use_of(service, workload);
  if (use == Use::kNever) return;
  const uint64_t hash = hash_of(workload.uid);
  // The first address of each family, as Istio's ztunnel does.
  std::array<std::optional<IpAddress>, 2> ips;
  for (const IpAddress& ip : workload.addresses) {
    std::optional<IpAddress>& of_family = ips[ip.is_v4() ? 0 : 1];
    if (!of_family && takes(service.families, ip)) of_family = ip;
  }
  if (workload.addresses.empty() && !workload.hostname.empty()) ips = {IpAddress(), IpAddress()};
  for (const auto& [port, target] : endpoint.ports) {
    if (target == 0) continue;
    auto& lists = use == Use::kReady ? by_port[port].ready : by_port[port].ending;
    for (size_t family = 0; family < ips.size(); ++family) {
      if (ips[family]) lists[family].push_back({&workload, {*ips[family], target}, hash});
    }
  }
}

}  // namespace

Candidates::Candidates(std::vector<Candidate> candidates, std::span<const Scope> scopes)
    : items_(std::move(candidates)) {
  std::ranges::sort(items_, [&](const Candidate& one, const Candidate& other) {
    return precedes(one, other, scopes);
  });
  capacity_through_.reserve(items_.size());
  uint64_t sum = 0;
  for (const Candidate& candidate : items_) {
    sum += candidate.workload->capacity;
    capacity_through_.push_back(sum);
  }
}

size_t Candidates::at_capacity(Range range, uint64_t left) const {
  const auto begin = capacity_through_.begin() + static_cast<ptrdiff_t>(range.begin);
  const auto end = capacity_through_.begin() + static_cast<ptrdiff_t>(range.end);
  return static_cast<size_t>(std::upper_bound(begin, end, left) - capacity_through_.begin());
}

Candidates::Ranges Candidates::ranges_for(const Workload& client,
                                          std::span<const Scope> scopes) const {
  Ranges ranges;
  Range range{0, items_.size()};
  ranges[0] = range;
  for (size_t depth = 0; depth < scopes.size() && depth < kScopesMax; ++depth) {
    const Scope scope = scopes[depth];
    const auto part = std::ranges::equal_range(
        items_.begin() + static_cast<ptrdiff_t>(range.begin),
        items_.begin() + static_cast<ptrdiff_t>(range.end), at_scope(client, scope), {},
        [scope](const Candidate& candidate) { return at_scope(*candidate.workload, scope); });
    range = {static_cast<size_t>(part.begin() - items_.begin()),
             static_cast<size_t>(part.end() - items_.begin())};
    ranges[depth + 1] = range;
  }
  return ranges;
}

std::vector<PortCandidates> candidates_of(const Service& service) {
  std::map<uint16_t, Gathered> by_port;
  for (const Endpoint& endpoint : service.endpoints) gather(service, endpoint, by_port);
  std::vector<PortCandidates> result;
  for (auto& [port, gathered] : by_port) {
    PortCandidates& made = result.emplace_back();
    made.port = port;
    for (size_t family = 0; family < 2; ++family) {
      const auto& scopes = service.balancing.scopes;
      made.ready[family] = Candidates(std::move(gathered.ready[family]), scopes);
      made.ending[family] = Candidates(std::move(gathered.ending[family]), scopes);
    }
  }
  return result;
}

}  // namespace weft::learn
