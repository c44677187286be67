#pragma once

#include "agent/sandbox/dns_message.h"
#include "ztunnel/base/fd.h"
#include "ztunnel/runtime/loop.h"

#include <functional>
#include <memory>
#include <string_view>

namespace weft::sandbox {

// Cluster DNS of one node: UDP and TCP on port 53 of an address in the node's network namespace.
// Runs for as long as the loop does.
struct DnsSockets {
  Fd udp;
  Fd tcp;
};
Result<DnsSockets> open_dns(int netns_fd, std::string_view ip);

// `zone` is asked for every query and may change in between.
using CurrentZone = std::function<std::shared_ptr<const Zone>()>;
runtime::Task<void> serve_dns_udp(runtime::Loop& loop, int socket, CurrentZone zone);
runtime::Task<void> serve_dns_tcp(runtime::Loop& loop, int listener, CurrentZone zone);

}  // namespace weft::sandbox
