#pragma once

#include "ztunnel/base/fd.h"
#include "ztunnel/base/ip.h"
#include "ztunnel/base/result.h"

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

namespace weft::enrol {

// A pod's listening sockets. They live inside the pod's network namespace, so that what they accept
// does too. The agent keeps them for as long as the pod is enrolled: connections queue in them
// while no ztunnel runs.
struct Listeners {
  Fd inbound;   // bound to the pod's interface; see bpf/capture.bpf.c, bind_inner_leg
  Fd outbound;  // accepts what the pod's own processes connected to
};

// Opens both and sets the pod's net.ipv4.tcp_fwmark_accept. For a thread inside the pod's netns.
Result<Listeners> open_listeners(const std::string& interface);

// The kernel's name of a socket, never used again before a reboot.
Result<uint64_t> socket_cookie(int socket_fd);

}  // namespace weft::enrol
