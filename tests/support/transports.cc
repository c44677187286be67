#include "tests/support/transports.h"

#include "ztunnel/base/check.h"
#include "ztunnel/runtime/memory_pipe.h"
#include "ztunnel/runtime/socket.h"

#include <fcntl.h>
#include <sys/socket.h>

namespace weft::testing {
namespace {

// Blocking calls: on loopback a connect to a listening socket completes at once.
StreamPair make_tcp_pair(runtime::Loop& loop) {
  const Fd listener(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  auto* any = reinterpret_cast<sockaddr*>(&address);
  CHECK(bind(listener.get(), any, size) == 0 && listen(listener.get(), 1) == 0);
  CHECK(getsockname(listener.get(), any, &size) == 0);
  Fd client(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  CHECK(connect(client.get(), any, size) == 0);
  CHECK(fcntl(client.get(), F_SETFL, O_NONBLOCK) == 0);
  Fd server(accept4(listener.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
  CHECK(static_cast<bool>(server));
  return {std::make_unique<runtime::SocketStream>(loop, std::move(client)),
          std::make_unique<runtime::SocketStream>(loop, std::move(server))};
}

}  // namespace

std::string to_string(Transport transport) {
  switch (transport) {
    case Transport::kMemory:
      return "Memory";
    case Transport::kEpollSockets:
      return "EpollSockets";
    case Transport::kUringSockets:
      return "UringSockets";
  }
  return "";
}

Result<std::unique_ptr<runtime::Loop>> make_loop(Transport transport) {
  return runtime::Loop::create(transport == Transport::kUringSockets ? runtime::Backend::kUring
                                                                     : runtime::Backend::kEpoll);
}

StreamPair make_pair(runtime::Loop& loop, Transport transport) {
  if (transport == Transport::kMemory) return runtime::make_memory_pipe();
  return make_tcp_pair(loop);
}

}  // namespace weft::testing
