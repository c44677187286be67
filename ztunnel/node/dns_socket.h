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
  // Queries of one socket that wait for a resolver: each holds a descriptor. What comes on top is
  // answered with SERVFAIL at once; names that the mesh knows are answered all the same.
  static constexpr size_t kForwardedMax = 1024;
  // All that wait, also for a pod that control has not announced yet: about 2 KiB each.
  static constexpr size_t kOpenMax = 2 * kForwardedMax;

  // `socket` (which it does not own) has IP_RECVORIGDSTADDR or IPV6_RECVORIGDSTADDR, or is the one
  // of a redirected pod.
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
  SocketAddress own_resolver() const;
  Result<void> send_redirected(const SocketAddress& client, std::string_view answer);

  PodProxy& proxy_;
  int socket_;
  DnsReplies replies_;
  size_t open_ = 0;
  size_t forwarded_ = 0;
  bool stopped_ = false;
};

}  // namespace weft::node
