#pragma once

#include "ztunnel/base/fd.h"
#include "ztunnel/base/ip.h"

#include <memory>
#include <string>
#include <string_view>

namespace weft::node {

// A whole IP packet with one UDP datagram, both of the family of `from`, with right checksums (but
// IPv4's own, which the kernel fills in).
std::string make_datagram(const SocketAddress& from, const SocketAddress& to,
                          std::string_view payload);

// Answers queries of a pod from the address and port that it asked. No socket can be bound there:
// port 53 bound on any address would keep the pod's own processes from binding it. So the packets
// are made by hand and sent by a raw socket inside the pod's network namespace, opened with the
// first answer.
class DnsReplies {
 public:
  explicit DnsReplies(int netns_fd) : netns_fd_(netns_fd) {}

  // An answer that cannot be sent is one that got lost; the error is for the log.
  Result<void> send(const SocketAddress& from, const SocketAddress& to, std::string_view payload);

 private:
  int netns_fd_;
  Fd v4_;
  Fd v6_;
};

}  // namespace weft::node
