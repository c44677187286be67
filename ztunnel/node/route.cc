#include "ztunnel/node/route.h"

#include <algorithm>
#include <optional>

namespace weft::node {
namespace {

// The endpoint's own port for a service port; 0: it does not serve that port.
uint16_t target_port(const learn::Endpoint& endpoint, uint16_t service_port) {
  const auto found = endpoint.ports.find(service_port);
  return found == endpoint.ports.end() ? 0 : found->second;
}

// Where a connection to this endpoint would go, if it may go there.
std::optional<SocketAddress> eligible_address(const learn::Endpoint& endpoint,
                                              const SocketAddress& original, const Choice& choice) {
  const learn::Workload& workload = *endpoint.workload;
  if (!workload.healthy || workload.capacity == 0 || workload.addresses.empty())
    return std::nullopt;
  const SocketAddress address{workload.addresses.front(), target_port(endpoint, original.port)};
  if (address.port == 0 || address.ip.is_v4() != original.ip.is_v4()) return std::nullopt;
  if (std::ranges::find(choice.tried, address) != choice.tried.end()) return std::nullopt;
  if (choice.memory != nullptr && choice.memory->is_avoided(address, choice.now)) {
    return std::nullopt;
  }
  return address;
}

std::optional<ToWorkload> choose_endpoint(const learn::Service& service,
                                          const SocketAddress& original, const Choice& choice) {
  uint64_t capacity = 0;
  for (const learn::Endpoint& endpoint : service.endpoints) {
    if (eligible_address(endpoint, original, choice)) capacity += endpoint.workload->capacity;
  }
  if (capacity == 0) return std::nullopt;
  uint64_t left = choice.random % capacity;
  for (const learn::Endpoint& endpoint : service.endpoints) {
    const std::optional<SocketAddress> address = eligible_address(endpoint, original, choice);
    if (!address) continue;
    if (left < endpoint.workload->capacity) return ToWorkload{endpoint.workload, *address};
    left -= endpoint.workload->capacity;
  }
  return std::nullopt;
}

Route route_to_service(std::shared_ptr<const learn::Service> service, const SocketAddress& original,
                       const Choice& choice) {
  Route route;
  route.service = std::move(service);
  const learn::Service& target = *route.service;
  if (target.has_waypoint) {
    route.destination = ToNowhere{"service " + target.ns + "/" + target.hostname +
                                  " has a waypoint, which this ztunnel cannot use"};
    return route;
  }
  std::optional<ToWorkload> endpoint = choose_endpoint(target, original, choice);
  if (!endpoint) {
    // All that is left failed lately: better one of those than none.
    Choice any = choice;
    any.memory = nullptr;
    endpoint = choose_endpoint(target, original, any);
  }
  if (endpoint) {
    route.destination = std::move(*endpoint);
  } else {
    route.destination =
        ToNowhere{"no healthy upstream: service " + target.ns + "/" + target.hostname +
                  " has no ready endpoint for port " + std::to_string(original.port)};
  }
  return route;
}

}  // namespace

Route choose_route(const learn::State& state, const SocketAddress& original, const Choice& choice) {
  if (auto service = state.service_by_vip(original.ip)) {
    return route_to_service(std::move(service), original, choice);
  }
  Route route;
  if (auto workload = state.workload_by_ip(original.ip)) {
    if (workload->has_waypoint) {
      route.destination = ToNowhere{"workload " + workload->ns + "/" + workload->name +
                                    " has a waypoint, which this ztunnel cannot use"};
    } else {
      route.destination = ToWorkload{std::move(workload), original};
    }
  }
  return route;
}

}  // namespace weft::node
