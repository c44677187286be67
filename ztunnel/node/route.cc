#include "ztunnel/node/route.h"

#include "ztunnel/learn/candidates.h"

namespace weft::node {
namespace {

using learn::Balancing;
using learn::Candidate;
using role::title_of;

// The workload of a candidate, kept alive beyond the State.
std::shared_ptr<const learn::Workload> held(const learn::State& state, const Candidate& candidate) {
  return state.workload_by_uid(candidate.workload->uid);
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
  const Candidate* chosen = role::pick(target, original.port, original.ip.is_v4(), choice);
  if (chosen == nullptr) return ToNowhere{role::why_no_endpoint(target, original.port)};
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
