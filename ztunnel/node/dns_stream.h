#pragma once

#include "ztunnel/node/pod_proxy.h"
#include "ztunnel/runtime/socket.h"

#include <optional>
#include <string>

namespace weft::node {

// Answers the queries of one connection of the pod to port 53 of `original`, one after the other,
// until the client ends it or asks nothing for five seconds. What the mesh does not know is asked
// of `original`, over a connection that goes where the client's own would have gone.
//
// Where the first message is no query that could be answered here (a zone transfer, an update,
// TLS): what was read so far; the connection is then to be carried as any other.
runtime::Task<std::optional<std::string>> serve_dns_stream(PodProxy& proxy,
                                                           runtime::SocketStream& downstream,
                                                           SocketAddress client,
                                                           SocketAddress original);

}  // namespace weft::node
