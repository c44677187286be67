#pragma once

#include "ztunnel/base/ip.h"
#include "ztunnel/base/spiffe_id.h"
#include "ztunnel/http/message.h"
#include "ztunnel/waypoint/upstreams.h"

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace weft::waypoint {

// A connection to a service behind this waypoint.
struct Arrival {
  std::string service;                // "namespace/hostname"
  uint16_t port = 0;                  // the service's
  std::optional<SpiffeId> caller;     // as its certificate says; absent: nobody proved himself
  SocketAddress client;               // who asked, as far as it is known
  weft::route::Destination straight;  // the service itself, for what has no route

  static Arrival at(std::string service, uint16_t port);
};

// One request, whatever became of it. Views are good during the call.
struct Report {
  explicit Report(const Arrival& its_arrival) : arrival(its_arrival) {}

  const Arrival& arrival;
  const http::RequestHead* request = nullptr;  // null: what came was no request
  int status = 0;                              // 0: none was sent
  Flag flag = Flag::kNone;
  std::string_view details;  // why, where it is the proxy's own answer
  std::string_view route;
  const weft::route::Destination* destination = nullptr;  // null: it was not sent anywhere
  std::string_view endpoint;                              // "ip:port"
  uint64_t received_bytes = 0;                            // of the request's body
  uint64_t sent_bytes = 0;                                // of the response's
  std::chrono::steady_clock::time_point began;
  std::chrono::nanoseconds duration{0};
  std::optional<std::chrono::nanoseconds> upstream;  // until its head
};

// Metrics, access log and spans; of one worker.
class Reporter {
 public:
  virtual ~Reporter() = default;
  virtual void on_request(const Report& report) = 0;
};

}  // namespace weft::waypoint
