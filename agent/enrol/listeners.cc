#include "agent/enrol/listeners.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>

namespace weft::enrol {
namespace {

// What may wait while a ztunnel restarts; the kernel caps it by the pod's net.core.somaxconn
// (4096).
constexpr int kBacklog = 4096;

// TEST-NET-1 (RFC 5737) and the documentation prefix of IPv6 (RFC 3849). sk_lookup finds a socket
// whatever it is bound to; an address that is nobody's keeps the pod's processes from reaching it
// by connecting to it.
const IpAddress kNobodysAddress = IpAddress::v4(0xC0000201);
constexpr const char* kNobodysAddressV6 = "2001:db8::1";

// A query of 512 bytes counts as 1280 in a socket's memory, so this (which the kernel doubles)
// holds 1600: more than what a busy pod asks in the second in which a ztunnel restarts.
constexpr int kDnsReceiveBytes = 1024 * 1024;

bool is_v6(weft_listener kind) {
  return kind == WEFT_LISTENER_INBOUND_V6 || kind == WEFT_LISTENER_OUTBOUND_V6 ||
         kind == WEFT_LISTENER_DNS_V6;
}

Result<void> set_option(int socket, int level, int name, int value, const char* what) {
  if (setsockopt(socket, level, name, &value, sizeof(value)) == 0) return {};
  return fail_errno(errno, std::string("setting ") + what + " on a listener inside the pod");
}

// A socket that takes what is addressed to others, bound to nobody's address and to any port: a DNS
// socket on 53 would keep the pod's own processes from binding 53 on every address.
Result<Fd> open_transparent(weft_listener kind, int type) {
  const bool v6 = is_v6(kind);
  Fd socket(::socket(v6 ? AF_INET6 : AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket) return fail_errno(errno, "making a listener inside the pod");
  // Otherwise it would want the IPv4 connections, too.
  if (v6) TRY(set_option(socket.get(), SOL_IPV6, IPV6_V6ONLY, 1, "IPV6_V6ONLY"));
  TRY(v6 ? set_option(socket.get(), SOL_IPV6, IPV6_TRANSPARENT, 1, "IPV6_TRANSPARENT")
         : set_option(socket.get(), SOL_IP, IP_TRANSPARENT, 1, "IP_TRANSPARENT"));
  const IpAddress nobody = v6 ? TRY(IpAddress::parse(kNobodysAddressV6)) : kNobodysAddress;
  sockaddr_storage address{};
  const socklen_t length = SocketAddress{nobody, 0}.to_sockaddr(address);
  if (bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), length) != 0) {
    return fail_errno(errno, "binding a listener inside the pod");
  }
  return socket;
}

Result<Fd> open_listener(weft_listener kind, const std::string& device) {
  Fd socket = TRY(open_transparent(kind, SOCK_STREAM));
  if (!device.empty() && setsockopt(socket.get(), SOL_SOCKET, SO_BINDTODEVICE, device.c_str(),
                                    static_cast<socklen_t>(device.size() + 1)) != 0) {
    return fail_errno(errno, "binding a listener to the pod's device " + device);
  }
  if (listen(socket.get(), kBacklog) != 0) {
    return fail_errno(errno, "listening inside the pod");
  }
  return socket;
}

// Queries queue in it while a ztunnel restarts. Whom a query was for, ztunnel learns from
// IP_ORIGDSTADDR (IPV6_ORIGDSTADDR) beside it.
Result<Fd> open_dns_socket(weft_listener kind) {
  Fd socket = TRY(open_transparent(kind, SOCK_DGRAM));
  TRY(is_v6(kind)
          ? set_option(socket.get(), SOL_IPV6, IPV6_RECVORIGDSTADDR, 1, "IPV6_RECVORIGDSTADDR")
          : set_option(socket.get(), SOL_IP, IP_RECVORIGDSTADDR, 1, "IP_RECVORIGDSTADDR"));
  TRY(set_option(socket.get(), SOL_SOCKET, SO_RCVBUFFORCE, kDnsReceiveBytes, "SO_RCVBUFFORCE"));
  // The hook that marks the pod's datagram sockets takes this for one.
  TRY(set_option(socket.get(), SOL_SOCKET, SO_MARK, 0, "SO_MARK"));
  return socket;
}

Result<Fd> open_kind(weft_listener kind, const std::string& interface) {
  switch (kind) {
    case WEFT_LISTENER_DNS_V4:
    case WEFT_LISTENER_DNS_V6:
      return open_dns_socket(kind);
    case WEFT_LISTENER_INBOUND_V4:
    case WEFT_LISTENER_INBOUND_V6:
      return open_listener(kind, interface);
    default:
      return open_listener(kind, "");
  }
}

bool kernel_has_ipv6() { return static_cast<bool>(Fd(::socket(AF_INET6, SOCK_STREAM, 0))); }

Result<void> switch_on(const char* sysctl) {
  const std::string path = std::string("/proc/sys/net/") + sysctl;
  const Fd file(open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (file && write(file.get(), "1", 1) == 1) return {};
  return fail_errno(errno, "writing 1 to " + path + " inside the pod");
}

// What answers a marked segment has its mark, and so goes the same way over lo: an application's
// segments on ztunnel's inner leg, and resets where nobody listens. Without the latter, one who
// connects to a port that nobody serves would wait until somebody's patience ends.
Result<void> reflect_marks(bool has_v6) {
  TRY(switch_on("ipv4/tcp_fwmark_accept"));
  TRY(switch_on("ipv4/fwmark_reflect"));
  return has_v6 ? switch_on("ipv6/fwmark_reflect") : Result<void>();
}

// A captured connection has two sockets with the pod's address and the same destination: the
// application's and ztunnel's. After their end each keeps its port for a minute, so that a pod with
// many short connections to one place would run out of ports at half the usual rate, and spend much
// CPU looking for one before. With this the kernel takes such a port again after a second, where
// both sides have timestamps (RFC 6191).
Result<void> share_ports() { return switch_on("ipv4/tcp_tw_reuse"); }

}  // namespace

Result<Listeners> open_listeners(const std::string& interface, Listeners present) {
  const bool has_v6 = kernel_has_ipv6();
  TRY(reflect_marks(has_v6));
  TRY(share_ports());
  for (uint32_t number = 0; number < WEFT_LISTENER_KINDS; ++number) {
    const auto kind = static_cast<weft_listener>(number);
    if (present[kind] || (is_v6(kind) && !has_v6)) continue;
    present[kind] = TRY(open_kind(kind, interface));
  }
  return present;
}

Result<uint64_t> socket_cookie(int socket_fd) {
  uint64_t cookie = 0;
  socklen_t size = sizeof(cookie);
  if (getsockopt(socket_fd, SOL_SOCKET, SO_COOKIE, &cookie, &size) != 0) {
    return fail_errno(errno, "reading a socket's cookie");
  }
  return cookie;
}

}  // namespace weft::enrol
