#include "ztunnel/role/pick.h"

#include "ztunnel/learn/candidates.h"

#include <algorithm>
#include <cstring>

namespace weft::role {
namespace {

using learn::Balancing;
using learn::Candidate;
using learn::Candidates;
using learn::PortCandidates;

uint64_t hash_of(const IpAddress& ip) {
  uint64_t high = 0;
  uint64_t low = 0;
  std::memcpy(&high, ip.bytes16().data(), sizeof high);
  std::memcpy(&low, ip.bytes16().data() + sizeof high, sizeof low);
  return learn::mix(high ^ learn::mix(low));
}

// Chooses among the candidates for one port. Made for one choice.
class Picker {
 public:
  Picker(const learn::Service& service, const Choice& choice)
      : service_(service), choice_(choice) {}

  // Ready before ending, the asked family before the other; avoided ones only where nothing else
  // is.
  const Candidate* pick(const PortCandidates& port, size_t family) {
    for (const bool heed_memory : {true, false}) {
      heed_memory_ = heed_memory;
      for (const auto* tables : {&port.ready, &port.ending}) {
        for (const size_t one : {family, 1 - family}) {
          if (const Candidate* found = pick_in((*tables)[one])) return found;
        }
      }
    }
    return nullptr;
  }

 private:
  bool is_eligible(const Candidate& candidate) const {
    if (std::ranges::find(choice_.tried, candidate.workload) != choice_.tried.end()) return false;
    return !heed_memory_ || choice_.memory == nullptr ||
           !choice_.memory->is_avoided(candidate.address, choice_.now);
  }

  const Candidate* pick_in(const Candidates& table) const {
    if (table.empty()) return nullptr;
    const Balancing& balancing = service_.balancing;
    const Candidates::Ranges ranges = table.ranges_for(choice_.source, balancing.scopes);
    const size_t narrowest = std::min(balancing.scopes.size(), learn::kScopesMax);
    switch (balancing.mode) {
      case Balancing::Mode::kStrict:
        return pick_in(table, ranges[narrowest]);
      case Balancing::Mode::kFailover:
        for (size_t depth = narrowest;; --depth) {
          const Candidate* found = pick_in(table, ranges[depth]);
          if (found != nullptr || depth == 0) return found;
        }
      default:
        return pick_in(table, ranges[0]);
    }
  }

  const Candidate* pick_in(const Candidates& table, Candidates::Range range) const {
    const auto eligible = [this](const Candidate& candidate) { return is_eligible(candidate); };
    return service_.balancing.client_affinity
               ? table.pick_for(range, hash_of(choice_.client), eligible)
               : table.pick(range, choice_.random, eligible);
  }

  const learn::Service& service_;
  const Choice& choice_;
  bool heed_memory_ = true;
};

}  // namespace

const Candidate* pick(const learn::Service& service, uint16_t port, bool v4_first,
                      const Choice& choice) {
  const PortCandidates* candidates = service.candidates_for(port);
  return candidates == nullptr ? nullptr
                               : Picker(service, choice).pick(*candidates, v4_first ? 0 : 1);
}

std::shared_ptr<const learn::Workload> known_as(const learn::State& state,
                                                std::shared_ptr<const learn::Workload> workload,
                                                const IpAddress& ip) {
  if (workload->hbone || ip.is_unspecified()) return workload;
  auto known = state.workload_by_ip(ip);
  return known != nullptr && known->hbone && !known->other_network ? known : workload;
}

std::string title_of(const learn::Service& service) {
  return "service " + service.ns + "/" + service.hostname;
}

std::string title_of(const learn::Workload& workload) {
  return "workload " + workload.ns + "/" + workload.name;
}

std::string why_no_endpoint(const learn::Service& service, uint16_t port) {
  const std::string none = "no healthy upstream: " + title_of(service);
  const auto& endpoints = service.endpoints;
  const bool all_elsewhere =
      !endpoints.empty() && std::ranges::all_of(endpoints, [](const learn::Endpoint& endpoint) {
        return endpoint.workload->other_network;
      });
  if (all_elsewhere) {
    return none + " has endpoints on the network \"" + endpoints.front().workload->network +
           "\" only, and there is no way to other networks";
  }
  if (!service.ports.contains(port) && !service.ports.empty()) {
    return none + " has no port " + std::to_string(port);
  }
  if (service.balancing.mode == Balancing::Mode::kStrict &&
      service.candidates_for(port) != nullptr) {
    return none + " keeps traffic near its client and has no ready endpoint there for port " +
           std::to_string(port);
  }
  return none + " has no ready endpoint for port " + std::to_string(port);
}

}  // namespace weft::role
