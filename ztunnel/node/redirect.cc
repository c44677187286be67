#include "ztunnel/node/redirect.h"

#include "ztunnel/learn/redirected.h"
#include "ztunnel/runtime/socket.h"

#include <netinet/in.h>
#include <sys/socket.h>

namespace weft::node {
namespace {

// <linux/netfilter_ipv4.h> and its IPv6 kin cannot stand beside <netinet/in.h>.
constexpr int kOriginalDestination = 80;

}  // namespace

Result<SocketAddress> original_target(const learn::Pod& pod, int connection) {
  SocketAddress local = TRY(runtime::local_address(connection));
  if (!pod.redirected) return local;
  sockaddr_storage address{};
  socklen_t length = sizeof address;
  const int level = local.ip.is_v4() ? SOL_IP : SOL_IPV6;
  if (getsockopt(connection, level, kOriginalDestination, &address, &length) != 0) return local;
  return SocketAddress::from_sockaddr(address);
}

bool is_own_port(const learn::Pod& pod, uint16_t port) {
  return pod.redirected && (port == learn::kOutboundPort || port == learn::kInboundPlainPort ||
                            port == learn::kTunnelPort || port == learn::kDnsPort);
}

}  // namespace weft::node
