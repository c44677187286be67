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

// TEST-NET-1 (RFC 5737). sk_lookup finds a listener whatever it is bound to; an address that is
// nobody's keeps the pod's processes from reaching the listener by connecting to it.
const IpAddress kNobodysAddress = IpAddress::v4(0xC0000201);

Result<void> set_option(int socket, int level, int name, int value, const char* what) {
  if (setsockopt(socket, level, name, &value, sizeof(value)) == 0) return {};
  return fail_errno(errno, std::string("setting ") + what + " on a listener inside the pod");
}

Result<Fd> open_listener(const std::string& device) {
  Fd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket) return fail_errno(errno, "making a listener inside the pod");
  TRY(set_option(socket.get(), SOL_IP, IP_TRANSPARENT, 1, "IP_TRANSPARENT"));
  if (!device.empty() && setsockopt(socket.get(), SOL_SOCKET, SO_BINDTODEVICE, device.c_str(),
                                    static_cast<socklen_t>(device.size() + 1)) != 0) {
    return fail_errno(errno, "binding a listener to the pod's device " + device);
  }
  sockaddr_storage address{};
  const socklen_t length = SocketAddress{kNobodysAddress, 0}.to_sockaddr(address);
  if (bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), length) != 0) {
    return fail_errno(errno, "binding a listener inside the pod");
  }
  if (listen(socket.get(), kBacklog) != 0) {
    return fail_errno(errno, "listening inside the pod");
  }
  return socket;
}

// What an application accepts from ztunnel's inner leg gets the leg's mark, and so answers over lo.
Result<void> accept_marks() {
  constexpr const char* kPath = "/proc/sys/net/ipv4/tcp_fwmark_accept";
  const Fd file(open(kPath, O_WRONLY | O_CLOEXEC));
  if (!file || write(file.get(), "1", 1) != 1) {
    return fail_errno(errno, std::string("writing 1 to ") + kPath + " inside the pod");
  }
  return {};
}

}  // namespace

Result<Listeners> open_listeners(const std::string& interface) {
  TRY(accept_marks());
  Listeners listeners;
  listeners[WEFT_LISTENER_INBOUND_V4] = TRY(open_listener(interface));
  listeners[WEFT_LISTENER_OUTBOUND_V4] = TRY(open_listener(""));
  return listeners;
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
