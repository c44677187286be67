#pragma once

#include "ztunnel/node/pod_proxy.h"
#include "ztunnel/role/report.h"

#include <memory>

namespace weft::node {

// Opens the way that a connection of the pod's own processes from `client` to `original` takes:
// through the mesh where that is known, else plain. The report learns where it leads, and has
// failed where it leads nowhere (null).
runtime::Task<std::unique_ptr<runtime::ByteStream>> open_outbound(PodProxy& proxy,
                                                                  SocketAddress client,
                                                                  SocketAddress original,
                                                                  Report& report);

}  // namespace weft::node
