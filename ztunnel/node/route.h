#pragma once

#include "ztunnel/base/ip.h"
#include "ztunnel/learn/state.h"
#include "ztunnel/role/pick.h"

#include <memory>
#include <string>
#include <variant>
#include <vector>

namespace weft::node {

// Where an outbound connection goes. Decided once, from one State; pure.

// Not to a workload that is known: plain TCP to where the application wanted to go.
struct ToOriginal {};

// A workload of the mesh or a pod outside it, chosen as an endpoint or addressed directly.
struct ToWorkload {
  std::shared_ptr<const learn::Workload> workload;
  // Its IP and the port that its application listens on. The IP is "::" where the workload is known
  // by its host name only, which is then to be looked up.
  SocketAddress address;
  const learn::Workload* endpoint = nullptr;  // the service's, as Choice::tried names it
};

// A pod of the waypoint before a service or workload, which decides where it goes.
struct ToWaypoint {
  std::shared_ptr<const learn::Workload> workload;
  SocketAddress address;  // of it, for HBONE
  const learn::Workload* endpoint = nullptr;
  std::vector<SpiffeId> names;  // its Service's, besides the pod's own
  std::string authority;        // what it is asked for: where the client wanted to go
};

// Nowhere, and why: what the log says.
struct ToNowhere {
  std::string reason;
};

using Destination = std::variant<ToOriginal, ToWorkload, ToWaypoint, ToNowhere>;

struct Route {
  std::shared_ptr<const learn::Service> service;  // null: not addressed through a service
  Destination destination;
};

using role::Choice;
using role::kAttemptsMax;

// One service address, one workload address, one service range, else the original destination;
// that only where the source may connect to what the mesh does not know.
//
// Of a service, the endpoint that role::pick() chooses. What has a waypoint is reached through it
// alone, by whoever is not that waypoint himself.
Route choose_route(const learn::State& state, const SocketAddress& original, const Choice& choice);
// The same for what is reached as this workload, whoever has a waypoint before it.
Destination route_to_workload(const learn::State& state,
                              std::shared_ptr<const learn::Workload> workload,
                              const SocketAddress& original, const Choice& choice);

// By role::known_as().
ToWorkload as_known(const learn::State& state, ToWorkload to);

}  // namespace weft::node
