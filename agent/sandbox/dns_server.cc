#include "agent/sandbox/dns_server.h"

#include "agent/sandbox/layout.h"
#include "agent/sandbox/netns.h"
#include "ztunnel/base/log.h"
#include "ztunnel/dns/framing.h"
#include "ztunnel/runtime/socket.h"

#include <poll.h>
#include <sys/socket.h>

#include <cerrno>

namespace weft::sandbox {

namespace {

constexpr uint16_t kDnsPort = 53;
constexpr int kDnsBacklog = 128;
constexpr size_t kTcpClientsMax = 64;  // a node's pods ask over UDP; TCP is for cut answers
constexpr std::chrono::milliseconds kTcpIdleMax{10'000};
// Answered in one go before the loop's other work gets its turn.
constexpr int kQueriesPerTurn = 64;

void answer_one(int socket, const CurrentZone& zone, bool& drained) {
  char query[kDnsQueryBytesMax];
  sockaddr_storage from{};
  socklen_t from_length = sizeof from;
  const ssize_t got = ::recvfrom(socket, query, sizeof query, MSG_DONTWAIT,
                                 reinterpret_cast<sockaddr*>(&from), &from_length);
  if (got < 0) {
    drained = errno == EAGAIN || errno == EWOULDBLOCK;
    return;
  }
  const auto answer = answer_dns({query, static_cast<size_t>(got)}, *zone(), kDnsUdpBytesMax);
  if (!answer) return;
  // A datagram that cannot be sent is one that got lost: the client asks again.
  [[maybe_unused]] const ssize_t sent =
      ::sendto(socket, answer->data(), answer->size(), MSG_DONTWAIT,
               reinterpret_cast<sockaddr*>(&from), from_length);
}

runtime::Task<Result<void>> serve_client(runtime::Loop& loop, runtime::SocketStream& stream,
                                         const CurrentZone& zone) {
  dns::Deframer queries;
  while (true) {
    const runtime::Buffer more = CO_TRY(co_await stream.read());
    if (more.empty()) co_return Result<void>();
    queries.push(more.text());
    while (const std::optional<std::string> query = queries.next()) {
      const auto answer = answer_dns(*query, *zone(), kDnsTcpBytesMax);
      if (!answer) co_return fail(Code::kInvalid, "not a DNS query");
      CO_TRY(co_await stream.write(loop.buffers().copy_of(dns::framed(*answer))));
    }
    if (queries.pending().size() > kDnsQueryBytesMax) {
      co_return fail(Code::kLimit, "a DNS query over 4 KiB");
    }
  }
}

runtime::Task<void> serve_tcp_client(runtime::Loop& loop, Fd connection, CurrentZone zone,
                                     size_t& clients) {
  ++clients;
  runtime::SocketStream stream(loop, std::move(connection));
  runtime::Deadline deadline(loop, kTcpIdleMax, [&stream] { stream.abort(); });
  [[maybe_unused]] const auto ended = co_await serve_client(loop, stream, zone);
  --clients;
}

}  // namespace

Result<DnsSockets> open_dns(int netns_fd, std::string_view ip) {
  const SocketAddress address{TRY(IpAddress::parse(ip)), kDnsPort};
  DnsSockets sockets;
  sockets.tcp = TRY(runtime::listen_in(netns_fd, address, kDnsBacklog));
  const NetnsBracket bracket = TRY(NetnsBracket::enter(netns_fd));
  sockets.udp.reset(::socket(address.ip.is_v4() ? AF_INET : AF_INET6,
                             SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!sockets.udp) return fail_errno(errno, "opening the DNS socket");
  sockaddr_storage storage{};
  const socklen_t length = address.to_sockaddr(storage);
  if (::bind(sockets.udp.get(), reinterpret_cast<sockaddr*>(&storage), length) != 0) {
    return fail_errno(errno, "binding the DNS socket to " + address.to_string());
  }
  return sockets;
}

runtime::Task<void> serve_dns_udp(runtime::Loop& loop, int socket, CurrentZone zone) {
  while (true) {
    const int ready = co_await loop.poll(socket, POLLIN);
    if (ready < 0) co_return;
    bool drained = false;
    for (int i = 0; i < kQueriesPerTurn && !drained; ++i) answer_one(socket, zone, drained);
  }
}

runtime::Task<void> serve_dns_tcp(runtime::Loop& loop, int listener, CurrentZone zone) {
  size_t clients = 0;
  while (true) {
    const int accepted = co_await loop.accept(listener);
    if (accepted == -ECANCELED) co_return;
    if (accepted < 0) {
      co_await loop.sleep(std::chrono::milliseconds(50));
      continue;
    }
    Fd connection(accepted);
    if (clients >= kTcpClientsMax) continue;
    loop.spawn(serve_tcp_client(loop, std::move(connection), zone, clients));
  }
}

}  // namespace weft::sandbox
