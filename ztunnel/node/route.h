#pragma once

#include "ztunnel/base/ip.h"
#include "ztunnel/learn/state.h"

#include <cstdint>
#include <memory>
#include <string>
#include <variant>

namespace weft::node {

// Where an outbound connection goes. Decided once, from one State; pure.

// Not of the mesh: plain TCP to where the application wanted to go.
struct ToOriginal {};

// A workload of the mesh or a pod outside it, chosen as an endpoint or addressed directly.
struct ToWorkload {
  std::shared_ptr<const learn::Workload> workload;
  SocketAddress address;  // its IP and the port that its application listens on
};

// Nowhere, and why: what the log says.
struct ToNowhere {
  std::string reason;
};

struct Route {
  std::shared_ptr<const learn::Service> service;  // null: not addressed through a service
  std::variant<ToOriginal, ToWorkload, ToNowhere> destination;
};

// `random` picks the endpoint: each healthy endpoint that has the port is chosen with a probability
// in proportion to its capacity, as ztunnel does. One service VIP, one workload address, else
// original.
Route choose_route(const learn::State& state, const SocketAddress& original, uint64_t random);

}  // namespace weft::node
