#include "ztunnel/node/route.h"

#include "ztunnel/learn/candidates.h"

#include <optional>

namespace weft::node {
namespace {

using learn::Balancing;
using learn::Candidate;
using role::title_of;

// The workload of a candidate, kept alive beyond the State.
std::shared_ptr<const learn::Workload> held(const learn::State& state, const Candidate& candidate) {
  return state.workload_by_uid(candidate.workload->uid);
}

Destination past_the_mesh(const SocketAddress& original, const Choice& choice) {
  if (!choice.source.registry_only) return ToOriginal{};
  return ToNowhere{
      "outboundTrafficPolicy is REGISTRY_ONLY and no Service, workload or ServiceEntry "
      "that namespace " +
      choice.source.ns + " can see has the address " + original.to_string() +
      ": if it may be connected to, add a ServiceEntry with it"};
}

// One of several, by their weights.
const learn::Waypoint& choose_waypoint(const std::vector<learn::Waypoint>& waypoints,
                                       uint64_t random) {
  uint64_t total = 0;
  for (const learn::Waypoint& one : waypoints) total += one.weight;
  uint64_t left = total == 0 ? 0 : random % total;
  for (const learn::Waypoint& one : waypoints) {
    if (left < one.weight) return one;
    left -= one.weight;
  }
  return waypoints.back();
}

bool is_of(const learn::Workload& workload, const learn::Service& service) {
  return workload.services.contains(service.ns + "/" + service.hostname);
}

// Nothing where the source is a pod of that waypoint: then it goes straight to `what`.
std::optional<Destination> through_waypoint(const learn::State& state,
                                            const std::vector<learn::Waypoint>& waypoints,
                                            const std::string& what, const SocketAddress& original,
                                            const Choice& choice) {
  if (waypoints.empty()) return std::nullopt;
  const learn::Waypoint& waypoint = choose_waypoint(waypoints, choice.random);
  const auto service = state.service_of(waypoint);
  const std::string name =
      "its waypoint " + (waypoint.address ? waypoint.address->to_string() : waypoint.service);
  if (service == nullptr) {
    return ToNowhere{what + " cannot be reached: " + name +
                     " is not known, and traffic does not go past it"};
  }
  if (is_of(choice.source, *service)) return std::nullopt;
  const Candidate* chosen = role::pick(*service, waypoint.port, original.ip.is_v4(), choice);
  if (chosen == nullptr) {
    return ToNowhere{what + " cannot be reached: " + name +
                     " has no ready pod, and traffic does not go past it (" +
                     role::why_no_endpoint(*service, waypoint.port) + ")"};
  }
  auto pod = held(state, *chosen);
  if (!pod->hbone) {
    return ToNowhere{what + " cannot be reached: " + title_of(*pod) + " of " + name +
                     " does not speak HBONE"};
  }
  return ToWaypoint{std::move(pod), chosen->address, chosen->workload, service->subject_alt_names,
                    original.to_string()};
}

Destination past_waypoints(std::shared_ptr<const learn::Workload> workload,
                           const SocketAddress& original) {
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
    return route_to_workload(state, std::move(workload), original, choice);
  }
  if (!choice.source.registry_only || service.ports.contains(original.port)) return ToOriginal{};
  return ToNowhere{"outboundTrafficPolicy is REGISTRY_ONLY and " + title_of(service) +
                   " has no port " + std::to_string(original.port) +
                   ": if it may be connected to, add the port to the ServiceEntry"};
}

Destination to_endpoint(const learn::State& state, const learn::Service& target,
                        const SocketAddress& original, const Choice& choice) {
  if (auto waypoint =
          through_waypoint(state, target.waypoints, title_of(target), original, choice)) {
    return std::move(*waypoint);
  }
  if (target.balancing.mode == Balancing::Mode::kPassthrough) {
    return through(state, target, original, choice);
  }
  const Candidate* chosen = role::pick(target, original.port, original.ip.is_v4(), choice);
  if (chosen == nullptr) return ToNowhere{role::why_no_endpoint(target, original.port)};
  ToWorkload to = as_known(state, {held(state, *chosen), chosen->address, chosen->workload});
  if (to.workload.get() != chosen->workload && !to.workload->waypoints.empty()) {
    return route_to_workload(state, std::move(to.workload), to.address, choice);
  }
  return to;
}

}  // namespace

Destination route_to_workload(const learn::State& state,
                              std::shared_ptr<const learn::Workload> workload,
                              const SocketAddress& original, const Choice& choice) {
  auto waypoint =
      through_waypoint(state, workload->waypoints, title_of(*workload), original, choice);
  if (waypoint) return std::move(*waypoint);
  return past_waypoints(std::move(workload), original);
}

ToWorkload as_known(const learn::State& state, ToWorkload to) {
  to.workload = role::known_as(state, std::move(to.workload), to.address.ip);
  return to;
}

Route choose_route(const learn::State& state, const SocketAddress& original, const Choice& choice) {
  Route route;
  route.service = state.service_by_address(original.ip, choice.source.ns);
  if (route.service != nullptr) {
    route.destination = to_endpoint(state, *route.service, original, choice);
  } else if (auto workload = state.workload_by_ip(original.ip)) {
    route.destination = route_to_workload(state, std::move(workload), original, choice);
  } else {
    route.destination = past_the_mesh(original, choice);
  }
  return route;
}

}  // namespace weft::node
