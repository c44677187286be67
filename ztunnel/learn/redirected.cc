#include "ztunnel/learn/redirected.h"

#include "ztunnel/runtime/socket.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>

namespace weft::learn {
namespace {

constexpr int kBacklog = 1024;  // as that of the listeners that our own agent opens

struct Place {
  ListenerKind v4;
  ListenerKind v6;
  uint16_t port;
  int type;
  bool on_loopback;  // or else on every address
};

constexpr std::array kPlaces{
    Place{ListenerKind::kInboundV4, ListenerKind::kInboundV6, kTunnelPort, SOCK_STREAM, false},
    Place{ListenerKind::kInboundPlainV4, ListenerKind::kInboundPlainV6, kInboundPlainPort,
          SOCK_STREAM, false},
    Place{ListenerKind::kOutboundV4, ListenerKind::kOutboundV6, kOutboundPort, SOCK_STREAM, false},
    Place{ListenerKind::kDnsStreamV4, ListenerKind::kDnsStreamV6, kDnsPort, SOCK_STREAM, true},
    Place{ListenerKind::kDnsV4, ListenerKind::kDnsV6, kDnsPort, SOCK_DGRAM, true},
};

Result<Fd> open_one(int netns_fd, const Place& place, bool v6) {
  Fd fd = TRY(runtime::socket_in(netns_fd, v6 ? AF_INET6 : AF_INET, place.type, 0));
  const int on = 1;
  setsockopt(fd.get(), SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
  setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (v6) setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
  sockaddr_storage address{};
  socklen_t length = sizeof(sockaddr_in);
  if (v6) {
    auto& to = reinterpret_cast<sockaddr_in6&>(address);
    to.sin6_family = AF_INET6;
    to.sin6_port = htons(place.port);
    to.sin6_addr = place.on_loopback ? in6addr_loopback : in6addr_any;
    length = sizeof(sockaddr_in6);
  } else {
    auto& to = reinterpret_cast<sockaddr_in&>(address);
    to.sin_family = AF_INET;
    to.sin_port = htons(place.port);
    to.sin_addr.s_addr = htonl(place.on_loopback ? INADDR_LOOPBACK : INADDR_ANY);
  }
  const std::string what = "port " + std::to_string(place.port) + " in the pod";
  if (bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), length) != 0) {
    return fail_errno(errno, "binding " + what);
  }
  if (place.type == SOCK_STREAM && listen(fd.get(), kBacklog) != 0) {
    return fail_errno(errno, "listening on " + what);
  }
  return fd;
}

// Whether the pod's namespace has IPv6 on its loopback: not where it is switched off.
bool has_v6(int netns_fd) {
  return open_one(netns_fd,
                  {.v4 = {}, .v6 = {}, .port = 0, .type = SOCK_DGRAM, .on_loopback = true}, true)
      .has_value();
}

}  // namespace

Result<void> open_redirected(Pod& pod) {
  const bool v6 = has_v6(pod.netns.get());
  for (const Place& place : kPlaces) {
    pod.listener(place.v4) = TRY(open_one(pod.netns.get(), place, false));
    if (v6) pod.listener(place.v6) = TRY(open_one(pod.netns.get(), place, true));
  }
  return {};
}

}  // namespace weft::learn
