#include "ztunnel/node/dns_socket.h"

#include "ztunnel/base/log.h"
#include "ztunnel/dns/exchange.h"
#include "ztunnel/dns/message.h"
#include "ztunnel/node/dns_proxy.h"

#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <optional>

namespace weft::node {
namespace {

using runtime::Task;

// Far above what a query has (a name, some options); more is cut, and then told so.
constexpr size_t kQueryBytesMax = 4096;
// Read in one go before the loop's other work gets its turn.
constexpr int kQueriesPerTurn = 64;
// A socket that reports an error without having one to tell must not keep the loop busy.
constexpr std::chrono::milliseconds kErrorPause{100};

// One query's way to the resolver; counts itself among those of its socket while it is on it.
class UdpUpstream final : public DnsUpstream {
 public:
  UdpUpstream(PodProxy& proxy, SocketAddress resolver, size_t& forwarded)
      : exchange_(proxy.context().loop, resolver, proxy.pod().netns.get(), proxy.mark()),
        forwarded_(forwarded) {}
  Task<Result<std::string>> forward(std::string query) override {
    return counted(exchange_.over_udp(std::move(query), kDnsTimeout));
  }
  Task<Result<std::string>> look_up(std::string query) override {
    return counted(exchange_.ask(std::move(query), kDnsTimeout));
  }
  void abort() { exchange_.abort(); }

 private:
  Task<Result<std::string>> counted(Task<Result<std::string>> asking) {
    if (forwarded_ >= DnsSocket::kForwardedMax) {
      co_return fail(Code::kLimit, "the pod has " + std::to_string(forwarded_) +
                                       " queries waiting for resolvers");
    }
    ++forwarded_;
    Result<std::string> answer = co_await std::move(asking);
    --forwarded_;
    co_return answer;
  }

  dns::Exchange exchange_;
  size_t& forwarded_;
};

std::optional<SocketAddress> original_destination(msghdr& message) {
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr;
       header = CMSG_NXTHDR(&message, header)) {
    const bool v4 = header->cmsg_level == SOL_IP && header->cmsg_type == IP_ORIGDSTADDR;
    const bool v6 = header->cmsg_level == SOL_IPV6 && header->cmsg_type == IPV6_ORIGDSTADDR;
    if (!v4 && !v6) continue;
    sockaddr_storage address{};
    std::memcpy(&address, CMSG_DATA(header), v4 ? sizeof(sockaddr_in) : sizeof(sockaddr_in6));
    return SocketAddress::from_sockaddr(address);
  }
  return std::nullopt;
}

}  // namespace

DnsSocket::DnsSocket(PodProxy& proxy, int socket, int netns_fd)
    : proxy_(proxy), socket_(socket), replies_(netns_fd) {}

void DnsSocket::stop() {
  stopped_ = true;
  proxy_.context().loop.cancel(socket_);
}

Task<void> DnsSocket::run() {
  runtime::Loop& loop = proxy_.context().loop;
  while (!stopped_) {
    const int ready = co_await loop.poll(socket_, POLLIN);
    if (stopped_) co_return;
    if (ready < 0 || (ready & POLLIN) == 0) {
      co_await loop.sleep(kErrorPause);
      continue;
    }
    for (int i = 0; i < kQueriesPerTurn && read_one(); ++i) {
    }
  }
}

bool DnsSocket::read_one() {
  char bytes[kQueryBytesMax];
  sockaddr_storage from{};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(sockaddr_in6))];
  iovec piece{bytes, sizeof bytes};
  msghdr message{};
  message.msg_name = &from;
  message.msg_namelen = sizeof from;
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  const ssize_t got = recvmsg(socket_, &message, MSG_DONTWAIT);
  if (got < 0) return errno == EINTR;
  const std::optional<SocketAddress> resolver =
      proxy_.pod().redirected ? own_resolver() : original_destination(message);
  if (!resolver) return true;  // nobody could be answered in whose name
  // A cut message reads as one that ends too early, which is what its sender is told.
  Query query{std::string(bytes, static_cast<size_t>(got)), SocketAddress::from_sockaddr(from),
              *resolver};
  if (open_ >= kOpenMax) {
    reply(query, refuse_dns(query.message));
  } else {
    proxy_.context().loop.spawn(serve(std::move(query)));
  }
  return true;
}

// Whom a redirected query was sent to, nobody tells: it goes to ztunnel's own resolver, as Istio's
// ztunnel has it.
SocketAddress DnsSocket::own_resolver() const {
  return {proxy_.context().resolver.conf().servers.front(), dns::kDnsPort};
}

Task<void> DnsSocket::serve(Query query) {
  const PodProxy::Guest guest(proxy_);
  ++open_;
  UdpUpstream upstream(proxy_, query.resolver, forwarded_);
  const PodProxy::Breakable breakable(proxy_, [&upstream] { upstream.abort(); });
  const std::string answer =
      co_await answer_dns(proxy_, query.message, DnsTransport::kUdp, upstream);
  --open_;
  reply(query, answer);
}

// From the very socket: connection tracking puts the address that was asked back in place.
Result<void> DnsSocket::send_redirected(const SocketAddress& client, std::string_view answer) {
  sockaddr_storage address{};
  const socklen_t length = client.to_sockaddr(address);
  if (sendto(socket_, answer.data(), answer.size(), MSG_DONTWAIT | MSG_NOSIGNAL,
             reinterpret_cast<const sockaddr*>(&address), length) >= 0) {
    return {};
  }
  return fail_errno(errno, "answering a query");
}

void DnsSocket::reply(const Query& query, std::string_view answer) {
  if (answer.empty()) return;
  const Result<void> sent = proxy_.pod().redirected
                                ? send_redirected(query.client, answer)
                                : replies_.send(query.resolver, query.client, answer);
  if (sent) return;
  log::warn("dns")
      .field("pod", proxy_.pod().ns + "/" + proxy_.pod().name)
      .field("error", sent.error().to_string())
      .say("an answer was not sent");
}

}  // namespace weft::node
