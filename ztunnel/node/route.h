#pragma once

#include "ztunnel/base/ip.h"
#include "ztunnel/learn/state.h"
#include "ztunnel/node/endpoint_memory.h"

#include <cstdint>
#include <memory>
#include <span>
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

// Endpoints that one connection may try.
constexpr size_t kAttemptsMax = 3;

// What choosing depends on besides the mesh itself.
struct Choice {
  uint64_t random = 0;
  std::span<const SocketAddress> tried = {};  // not again
  const EndpointMemory* memory = nullptr;  // not where others failed lately, if there is a choice
  EndpointMemory::Time now = {};
};

// One service VIP, one workload address, else original. Of a service, each healthy endpoint that
// has the port is chosen with a probability in proportion to its capacity, as ztunnel does.
Route choose_route(const learn::State& state, const SocketAddress& original, const Choice& choice);

}  // namespace weft::node
