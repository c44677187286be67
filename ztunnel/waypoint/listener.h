#pragma once

#include "ztunnel/base/fd.h"
#include "ztunnel/waypoint/worker.h"

namespace weft::waypoint {

// A client's ztunnel has connected to port 15008: TLS, HTTP/2, and one Client for each CONNECT.
runtime::Task<void> serve_client(Worker& worker, Fd connection);

}  // namespace weft::waypoint
