#pragma once

#include "ztunnel/base/ip.h"
#include "ztunnel/learn/state.h"
#include "ztunnel/role/pick.h"

#include <memory>
#include <string>
#include <variant>

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

// Nowhere, and why: what the log says.
struct ToNowhere {
  std::string reason;
};

struct Route {
  std::shared_ptr<const learn::Service> service;  // null: not addressed through a service
  std::variant<ToOriginal, ToWorkload, ToNowhere> destination;
};

using role::Choice;
using role::kAttemptsMax;

// One service address, one workload address, one service range, else the original destination;
// that only where the source may connect to what the mesh does not know.
//
// Of a service, the endpoint that role::pick() chooses.
Route choose_route(const learn::State& state, const SocketAddress& original, const Choice& choice);

// An endpoint that is written down by its address or name alone may be a pod of the mesh: then it
// is reached as that pod, over mutual TLS and as its policies want it, never in plain text beside
// them.
ToWorkload as_known(const learn::State& state, ToWorkload to);

}  // namespace weft::node
