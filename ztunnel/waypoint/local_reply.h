#pragma once

#include "ztunnel/http/exchange.h"
#include "ztunnel/runtime/loop.h"

#include <optional>
#include <string>
#include <string_view>

namespace weft::waypoint {

// An answer of the proxy's own. To a gRPC client it is a status 200 with grpc-status in its place,
// as Envoy maps it.
struct LocalReply {
  int status = 503;
  std::string body;                // text/plain; a gRPC client gets it as grpc-message
  bool overloaded = false;         // x-envoy-overloaded
  std::optional<int> grpc_status;  // instead of the one that `status` maps to
};

// Nothing where the exchange has been answered already: it is reset instead.
runtime::Task<void> reply(runtime::Loop& loop, http::ServerExchange& exchange, LocalReply with);

// The value of grpc-status for a status of HTTP (gRPC's http-grpc-status-mapping document).
int grpc_status_of(int http_status);

bool is_grpc(const http::RequestHead& request);

}  // namespace weft::waypoint
