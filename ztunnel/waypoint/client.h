#pragma once

#include "ztunnel/base/ip.h"
#include "ztunnel/base/spiffe_id.h"
#include "ztunnel/learn/state.h"
#include "ztunnel/waypoint/config.h"

#include <memory>
#include <string>

namespace weft::waypoint {

// One connection that a client asked for: who he is, what he wants, and the configuration that it
// began with. What the listener hands on.
struct Client {
  SpiffeId identity;  // proven by his certificate
  // Labels, which prove nothing: his address, as his ztunnel says it, and the workload that has it.
  SocketAddress address;
  std::shared_ptr<const learn::Workload> workload;  // null: not known

  std::string authority;   // the CONNECT's
  SocketAddress original;  // the same as an address; "::" where it is a host name
  uint16_t port = 0;

  std::shared_ptr<const learn::State> state;
  std::shared_ptr<const Config> config;
  std::shared_ptr<const learn::Service> service;  // null: a workload was asked for
  std::shared_ptr<const Service> routes;          // of the service; null without one
  std::shared_ptr<const learn::Workload> target;  // the workload; null with a service
  weft::route::Port::Protocol protocol = weft::route::Port::SNIFF;
};

}  // namespace weft::waypoint
