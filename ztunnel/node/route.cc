#include "ztunnel/node/route.h"

#include "ztunnel/learn/candidates.h"

#include <algorithm>
#include <cstring>

namespace weft::node {
namespace {

using learn::Balancing;
using learn::Candidate;
using learn::Candidates;
using learn::PortCandidates;

std::string title_of(const learn::Service& service) {
  return "service " + service.ns + "/" + service.hostname;
}

std::string title_of(const learn::Workload& workload) {
  return "workload " + workload.ns + "/" + workload.name;
}

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

// The workload of a candidate, kept alive beyond the State.
std::shared_ptr<const learn::Workload> held(const learn::State& state, const Candidate& candidate) {
  return state.workload_by_uid(candidate.workload->uid);
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

using Destination = std::variant<ToOriginal, ToWorkload, ToNowhere>;

Destination past_the_mesh(const SocketAddress& original, const Choice& choice) {
  if (!choice.source.registry_only) return ToOriginal{};
  return ToNowhere{
      "outboundTrafficPolicy is REGISTRY_ONLY and no Service, workload or ServiceEntry "
      "that namespace " +
      choice.source.ns + " can see has the address " + original.to_string() +
      ": if it may be connected to, add a ServiceEntry with it"};
}

Destination to_workload(std::shared_ptr<const learn::Workload> workload,
                        const SocketAddress& original) {
  if (workload->has_waypoint) {
    return ToNowhere{title_of(*workload) + " has a waypoint, which this ztunnel cannot use"};
  }
  if (workload->other_network) {
    return ToNowhere{title_of(*workload) + " is on the network \"" + workload->network +
                     "\", and there is no way to other networks"};
  }
  return ToWorkload{std::move(workload), original, nullptr};
}

// To where the client wanted to go, which the service only gives a name.
Destination through(const learn::State& state, const learn::Service& service,
                    const SocketAddress& original, const Choice& choice) {
  if (auto workload = state.workload_by_ip(original.ip)) {
    return to_workload(std::move(workload), original);
  }
  if (!choice.source.registry_only || service.ports.contains(original.port)) return ToOriginal{};
  return ToNowhere{"outboundTrafficPolicy is REGISTRY_ONLY and " + title_of(service) +
                   " has no port " + std::to_string(original.port) +
                   ": if it may be connected to, add the port to the ServiceEntry"};
}

Destination to_endpoint(const learn::State& state, const learn::Service& target,
                        const SocketAddress& original, const Choice& choice) {
  if (target.has_waypoint) {
    return ToNowhere{title_of(target) + " has a waypoint, which this ztunnel cannot use"};
  }
  if (target.balancing.mode == Balancing::Mode::kPassthrough) {
    return through(state, target, original, choice);
  }
  const PortCandidates* port = target.candidates_for(original.port);
  const Candidate* chosen =
      port == nullptr ? nullptr : Picker(target, choice).pick(*port, original.ip.is_v4() ? 0 : 1);
  if (chosen == nullptr) return ToNowhere{why_no_endpoint(target, original.port)};
  ToWorkload to = as_known(state, {held(state, *chosen), chosen->address, chosen->workload});
  if (to.workload->has_waypoint && to.workload.get() != chosen->workload) {
    return to_workload(std::move(to.workload), to.address);
  }
  return to;
}

}  // namespace

ToWorkload as_known(const learn::State& state, ToWorkload to) {
  if (to.workload->hbone || to.address.ip.is_unspecified()) return to;
  auto known = state.workload_by_ip(to.address.ip);
  if (known != nullptr && known->hbone && !known->other_network) to.workload = std::move(known);
  return to;
}

Route choose_route(const learn::State& state, const SocketAddress& original, const Choice& choice) {
  Route route;
  route.service = state.service_by_address(original.ip, choice.source.ns);
  if (route.service != nullptr) {
    route.destination = to_endpoint(state, *route.service, original, choice);
  } else if (auto workload = state.workload_by_ip(original.ip)) {
    route.destination = to_workload(std::move(workload), original);
  } else {
    route.destination = past_the_mesh(original, choice);
  }
  return route;
}

}  // namespace weft::node
