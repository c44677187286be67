#pragma once

#include "bpf/weft_abi.h"
#include "ztunnel/base/fd.h"
#include "ztunnel/base/ip.h"
#include "ztunnel/base/result.h"

#include <array>
#include <cstdint>
#include <string>

namespace weft::enrol {

// A pod's listening sockets. They live inside the pod's network namespace, so that what they accept
// does too. The agent keeps them for as long as the pod is enrolled: connections queue in them
// while no ztunnel runs.
//
// By weft_listener. Inbound ones are bound to the pod's interface (see bpf/capture.bpf.c,
// bind_inner_leg); outbound ones accept what the pod's own processes connected to. Of IPv4 TCP both
// are there; of what the pod has not, none is.
struct Listeners {
  std::array<Fd, WEFT_LISTENER_KINDS> sockets;

  const Fd& operator[](weft_listener kind) const { return sockets[kind]; }
  Fd& operator[](weft_listener kind) { return sockets[kind]; }
};

// Opens them and sets the pod's net.ipv4.tcp_fwmark_accept. For a thread inside the pod's netns.
Result<Listeners> open_listeners(const std::string& interface);

// The kernel's name of a socket, never used again before a reboot.
Result<uint64_t> socket_cookie(int socket_fd);

}  // namespace weft::enrol
