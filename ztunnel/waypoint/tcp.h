#pragma once

#include "ztunnel/waypoint/client.h"
#include "ztunnel/waypoint/open_endpoint.h"

namespace weft::waypoint {

// For a connection that is not HTTP: chooses an endpoint and connects to it; the report tells of
// the one that was reached, or tried last. One that cannot be connected to is replaced by another.
// `client` is kept by the caller.
runtime::Task<Opened> open_tcp(WorkerContext& context, const Client& client, role::Report& report);

}  // namespace weft::waypoint
