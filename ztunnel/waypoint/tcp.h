#pragma once

#include "ztunnel/waypoint/client.h"
#include "ztunnel/waypoint/network.h"
#include "ztunnel/waypoint/open_endpoint.h"

#include <cstdint>

namespace weft::waypoint {

// For a connection that is not HTTP: chooses an endpoint, of the service or of where its routes
// send it, and connects to it; the report tells of the one that was reached, or tried last. One
// that cannot be connected to is replaced by another. `client` is kept by the caller.
runtime::Task<Opened> open_tcp(WorkerContext& context, Network& network, const Client& client,
                               role::Report& report);

// The first route that matches what was asked for. A client that came through a service has asked
// for that host, whatever its TLS says later: an SNI matches by the service's host name. Null:
// none.
const weft::route::TcpRoute* find_route(const std::vector<weft::route::TcpRoute>& routes,
                                        const IpAddress& destination, std::string_view hostname);
// One destination, by the weights; null where there is none.
const weft::route::Destination* choose(const weft::route::Forward& forward, uint64_t random);

}  // namespace weft::waypoint
