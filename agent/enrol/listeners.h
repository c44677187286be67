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
// bind_inner_leg); outbound ones accept what the pod's own processes connected to; DNS ones receive
// the queries of its datagram sockets. Of IPv4 all are there, of IPv6 where the kernel has it.
struct Listeners {
  std::array<Fd, WEFT_LISTENER_KINDS> sockets;

  const Fd& operator[](weft_listener kind) const { return sockets[kind]; }
  Fd& operator[](weft_listener kind) { return sockets[kind]; }
};

// Opens what is missing of `present`, and sets the pod's net.ipv4.tcp_fwmark_accept (which is of
// both families), fwmark_reflect and tcp_tw_reuse. For a thread inside the pod's netns.
Result<Listeners> open_listeners(const std::string& interface, Listeners present = {});

// The kernel's name of a socket, never used again before a reboot.
Result<uint64_t> socket_cookie(int socket_fd);

}  // namespace weft::enrol
