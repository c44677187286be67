#pragma once

#include "ztunnel/base/ip.h"
#include "ztunnel/base/spiffe_id.h"
#include "ztunnel/http/message.h"
#include "ztunnel/telemetry/request_plan.h"
#include "ztunnel/telemetry/trace_context.h"
#include "ztunnel/waypoint/upstreams.h"

#include <chrono>
#include <cstdint>
#include <memory>
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

  // The reporter's own: how this request is reported, and what it keeps for that.
  std::shared_ptr<const telemetry::RequestPlan> plan;
  std::optional<telemetry::TraceContext> trace;
  http::ResponseHead response;
  http::FieldList trailers;
};

// Metrics, access log and spans; of one worker.
class Reporter {
 public:
  virtual ~Reporter() = default;
  // Before routing: puts the trace's context for the next hop among the head's fields.
  virtual void on_head(Report& /*report*/, http::RequestHead& /*head*/) {}
  // The final head of the response, and its trailers, before they are sent on.
  virtual void on_answer(Report& /*report*/, const http::ResponseHead& /*head*/) {}
  virtual void on_trailers(Report& /*report*/, const http::FieldList& /*trailers*/) {}
  // It is over.
  virtual void on_request(const Report& report) = 0;
};

}  // namespace weft::waypoint
