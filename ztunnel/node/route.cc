#include "ztunnel/node/route.h"

namespace weft::node {
namespace {

// The endpoint's own port for a service port; 0: it does not serve that port.
uint16_t target_port(const learn::Endpoint& endpoint, uint16_t service_port) {
  const auto found = endpoint.ports.find(service_port);
  return found == endpoint.ports.end() ? 0 : found->second;
}

bool is_eligible(const learn::Endpoint& endpoint, uint16_t service_port, bool v4) {
  const learn::Workload& workload = *endpoint.workload;
  return workload.healthy && workload.capacity > 0 && !workload.addresses.empty() &&
         workload.addresses.front().is_v4() == v4 && target_port(endpoint, service_port) != 0;
}

const learn::Endpoint* choose_endpoint(const learn::Service& service, uint16_t port, bool v4,
                                       uint64_t random) {
  uint64_t capacity = 0;
  for (const learn::Endpoint& endpoint : service.endpoints) {
    if (is_eligible(endpoint, port, v4)) capacity += endpoint.workload->capacity;
  }
  if (capacity == 0) return nullptr;
  uint64_t left = random % capacity;
  for (const learn::Endpoint& endpoint : service.endpoints) {
    if (!is_eligible(endpoint, port, v4)) continue;
    if (left < endpoint.workload->capacity) return &endpoint;
    left -= endpoint.workload->capacity;
  }
  return nullptr;
}

Route route_to_service(std::shared_ptr<const learn::Service> service, const SocketAddress& original,
                       uint64_t random) {
  Route route;
  route.service = std::move(service);
  const learn::Service& target = *route.service;
  if (target.has_waypoint) {
    route.destination = ToNowhere{"service " + target.ns + "/" + target.hostname +
                                  " has a waypoint, which this ztunnel cannot use"};
    return route;
  }
  const learn::Endpoint* endpoint =
      choose_endpoint(target, original.port, original.ip.is_v4(), random);
  if (endpoint == nullptr) {
    route.destination =
        ToNowhere{"no healthy upstream: service " + target.ns + "/" + target.hostname +
                  " has no ready endpoint for port " + std::to_string(original.port)};
    return route;
  }
  const SocketAddress address{endpoint->workload->addresses.front(),
                              target_port(*endpoint, original.port)};
  route.destination = ToWorkload{endpoint->workload, address};
  return route;
}

}  // namespace

Route choose_route(const learn::State& state, const SocketAddress& original, uint64_t random) {
  if (auto service = state.service_by_vip(original.ip)) {
    return route_to_service(std::move(service), original, random);
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
