#pragma once

#include "ztunnel/node/pod_proxy.h"
#include "ztunnel/node/route.h"

#include <expected>
#include <memory>

namespace weft::node {

struct SameNodeError {
  Error error;
  Flag flag = Flag::kConnect;
};

// Both pods stand on this node and no waypoint lies between: ztunnel knows both identities from the
// listeners themselves, authorizes as the destination would, and connects to the application
// directly. The bytes never leave the node and are not encrypted, so nothing calls them mutual_tls.
// The stream reports the destination's half of the connection when it goes.
runtime::Task<std::expected<std::unique_ptr<runtime::ByteStream>, SameNodeError>> open_same_node(
    PodProxy& destination, std::shared_ptr<const learn::Workload> source, SocketAddress client,
    ToWorkload to);

}  // namespace weft::node
