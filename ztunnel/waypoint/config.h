#pragma once

#include "proto/route.pb.h"
#include "ztunnel/routing/table.h"
#include "ztunnel/telemetry/request_plan.h"

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>

namespace weft::waypoint {

// A service behind this waypoint.
struct Service {
  std::string key;      // "namespace/hostname"
  std::string refused;  // not empty: all of it is refused, and why
  struct Port {
    weft::route::Port::Protocol protocol = weft::route::Port::SNIFF;
    std::shared_ptr<const routing::Table> http;  // null: straight to the service
    std::vector<weft::route::TcpRoute> tcp;
  };
  std::unordered_map<uint16_t, Port> ports;
};

// All that a waypoint knows beside addresses and policies (learn::State). Immutable: a request
// that began with one finishes with it.
struct Config {
  std::unordered_map<std::string, std::shared_ptr<const Service>> services;  // by key
  // By "namespace/hostname"; what has none has a default Traffic.
  std::unordered_map<std::string, std::shared_ptr<const weft::route::Policy>> policies;
  // The same; "*": for those that have none.
  std::unordered_map<std::string, std::shared_ptr<const telemetry::RequestPlan>> telemetry;
};

}  // namespace weft::waypoint
