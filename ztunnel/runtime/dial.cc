// Making sockets: in the right network namespace, with what must be set before they are connected
// or listen.

#include "ztunnel/base/check.h"
#include "ztunnel/runtime/socket.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cerrno>
#include <cstring>

namespace weft::runtime {
namespace {

// The thread's own network namespace, opened once a thread: the way back from every bracket.
Result<int> own_netns() {
  static thread_local Fd own;
  if (!own) own = Fd(open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
  if (!own) return fail_errno(errno, "opening the own network namespace");
  return own.get();
}

Result<Fd> make_socket(int family, int type = SOCK_STREAM, int protocol = 0) {
  Fd made(socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol));
  if (!made) return fail_errno(errno, "making a socket");
  return made;
}

Result<void> set_option(int fd, int level, int name, int value, std::string_view what) {
  if (setsockopt(fd, level, name, &value, sizeof value) == 0) return {};
  return fail_errno(errno, std::string("setting ") + std::string(what));
}

Result<void> bind_to(int fd, const SocketAddress& address) {
  sockaddr_storage raw{};
  const socklen_t length = address.to_sockaddr(raw);
  if (bind(fd, reinterpret_cast<const sockaddr*>(&raw), length) == 0) return {};
  return fail_errno(errno, "binding to " + address.to_string());
}

Result<void> bind_source(int fd, const DialOptions& options) {
  const SocketAddress& source = *options.source;
  if (options.transparent) {
    const bool v4 = source.ip.is_v4();
    TRY(set_option(fd, v4 ? SOL_IP : SOL_IPV6, v4 ? IP_TRANSPARENT : IPV6_TRANSPARENT, 1,
                   "IP_TRANSPARENT"));
  }
  if (source.port == 0) {
    // The port is then chosen at connect(2), so that it need only be free towards that peer.
    TRY(set_option(fd, SOL_IP, IP_BIND_ADDRESS_NO_PORT, 1, "IP_BIND_ADDRESS_NO_PORT"));
  } else {
    TRY(set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1, "SO_REUSEADDR"));
  }
  return bind_to(fd, source);
}

Result<void> prepare_to_dial(int fd, const DialOptions& options) {
  if (options.mark != 0) {
    TRY(set_option(fd, SOL_SOCKET, SO_MARK, static_cast<int>(options.mark), "SO_MARK"));
  }
  if (options.over_loopback) send_over_loopback(fd);
  const std::string& device = options.bind_to_device;
  if (!device.empty() && setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, device.c_str(),
                                    static_cast<socklen_t>(device.size())) != 0) {
    return fail_errno(errno, "binding to the device " + device);
  }
  if (options.source) return bind_source(fd, options);
  return {};
}

Result<socklen_t> unix_address(const std::string& path, sockaddr_storage& out) {
  out = {};
  auto& address = reinterpret_cast<sockaddr_un&>(out);
  if (path.empty() || path.size() >= sizeof address.sun_path) {
    return fail(Code::kInvalid, "a unix socket's path has 1 to " +
                                    std::to_string(sizeof address.sun_path - 1) + " bytes, got \"" +
                                    path + "\"");
  }
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.data(), path.size());
  return static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size() + 1);
}

// A socket file that nobody listens on any more is what a killed process leaves behind.
Result<void> remove_stale(const std::string& path, const sockaddr_storage& address,
                          socklen_t length) {
  struct stat status{};
  if (lstat(path.c_str(), &status) != 0 || !S_ISSOCK(status.st_mode)) {
    return fail(Code::kInvalid, path + " exists and is not a socket");
  }
  const Fd probe = TRY(make_socket(AF_UNIX));
  if (::connect(probe.get(), reinterpret_cast<const sockaddr*>(&address), length) == 0 ||
      errno != ECONNREFUSED) {
    return fail(Code::kUnavailable, "another process listens on " + path);
  }
  if (unlink(path.c_str()) != 0) return fail_errno(errno, "removing the stale socket " + path);
  return {};
}

}  // namespace

Result<Fd> tcp_socket_in(int netns_fd, const IpAddress& family_of) {
  return socket_in(netns_fd, family_of.is_v4() ? AF_INET : AF_INET6, SOCK_STREAM, 0);
}

Result<Fd> socket_in(int netns_fd, int family, int type, int protocol) {
  if (netns_fd < 0) return make_socket(family, type, protocol);
  const int own = TRY(own_netns());
  if (setns(netns_fd, CLONE_NEWNET) != 0) {
    return fail_errno(errno, "entering a network namespace");
  }
  Result<Fd> made = make_socket(family, type, protocol);
  // A thread that stays in a pod's namespace would make every later socket there.
  CHECK(setns(own, CLONE_NEWNET) == 0);
  return made;
}

Result<Fd> listen_in(int netns_fd, const SocketAddress& address, int backlog) {
  Fd listener = TRY(tcp_socket_in(netns_fd, address.ip));
  TRY(set_option(listener.get(), SOL_SOCKET, SO_REUSEADDR, 1, "SO_REUSEADDR"));
  TRY(bind_to(listener.get(), address));
  if (listen(listener.get(), backlog) != 0) {
    return fail_errno(errno, "listening on " + address.to_string());
  }
  return listener;
}

Result<Fd> listen_unix(const std::string& path, mode_t mode) {
  sockaddr_storage address{};
  const socklen_t length = TRY(unix_address(path, address));
  Fd listener = TRY(make_socket(AF_UNIX));
  // Before bind(2), so that the file never exists with a wider mode.
  if (fchmod(listener.get(), mode) != 0) return fail_errno(errno, "setting a socket's mode");
  const auto* raw = reinterpret_cast<const sockaddr*>(&address);
  if (bind(listener.get(), raw, length) != 0) {
    if (errno != EADDRINUSE) return fail_errno(errno, "binding to " + path);
    TRY(remove_stale(path, address, length));
    if (bind(listener.get(), raw, length) != 0) return fail_errno(errno, "binding to " + path);
  }
  if (listen(listener.get(), SOMAXCONN) != 0) return fail_errno(errno, "listening on " + path);
  return listener;
}

namespace {

Task<Result<std::unique_ptr<SocketStream>>> connect_within(Loop& loop, Fd socket,
                                                           Operation connecting,
                                                           std::chrono::milliseconds limit,
                                                           std::string to) {
  const int fd = socket.get();
  Deadline deadline(loop, limit, [&loop, fd] { loop.cancel(fd); });
  const int result = co_await connecting;
  if (result < 0 && deadline.expired()) {
    co_return fail(Code::kTimeout, "connecting to " + to + ": no answer in " +
                                       std::to_string(limit.count()) + " ms");
  }
  if (result < 0) co_return fail_errno(-result, "connecting to " + to);
  co_return std::make_unique<SocketStream>(loop, std::move(socket));
}

constexpr std::chrono::milliseconds kUnixConnectTimeout{5'000};  // a full backlog, at most

}  // namespace

Task<Result<std::unique_ptr<SocketStream>>> dial(Loop& loop, SocketAddress to,
                                                 DialOptions options) {
  Fd socket = CO_TRY(tcp_socket_in(options.netns_fd, to.ip));
  CO_TRY(prepare_to_dial(socket.get(), options));
  const Operation connecting = loop.connect(socket.get(), to);
  co_return co_await connect_within(loop, std::move(socket), connecting, options.timeout,
                                    to.to_string());
}

Task<Result<std::unique_ptr<SocketStream>>> dial_unix(Loop& loop, std::string path) {
  Fd socket = CO_TRY(make_socket(AF_UNIX));
  Operation connecting = loop.connect(socket.get(), SocketAddress{});
  connecting.address_length = CO_TRY(unix_address(path, connecting.address));
  co_return co_await connect_within(loop, std::move(socket), connecting, kUnixConnectTimeout,
                                    std::move(path));
}

}  // namespace weft::runtime
