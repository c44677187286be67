#pragma once

#include "ztunnel/node/dns_reply.h"
#include "ztunnel/node/pod_proxy.h"

#include <memory>
#include <string>
#include <string_view>

namespace weft::node {

// The queries that a pod's processes send to port 53 of whomever, one datagram each: reads them
// from the socket that the agent opened in the pod, and answers in the name of who was asked. While
// no ztunnel reads, they wait in that socket.
class DnsSocket {
 public:
  // Queries of one socket that wait for a resolver. Each holds a descriptor and about 2 KiB; what
  // comes on top is answered with SERVFAIL at once.
  static constexpr size_t kWaitingMax = 1024;

  // `socket` (which it does not own) has IP_RECVORIGDSTADDR or IPV6_RECVORIGDSTADDR.
  DnsSocket(PodProxy& proxy, int socket, int netns_fd);

  runtime::Task<void> run();  // until stop(); what it has read by then is still answered
  void stop();

 private:
  struct Query {
    std::string message;
    SocketAddress client;
    SocketAddress resolver;
  };
  bool read_one();  // false: there is none, or the socket is broken
  runtime::Task<void> serve(Query query);
  void reply(const Query& query, std::string_view answer);

  PodProxy& proxy_;
  int socket_;
  DnsReplies replies_;
  size_t waiting_ = 0;
  bool stopped_ = false;
};

}  // namespace weft::node
