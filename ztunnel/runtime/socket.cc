#include "ztunnel/runtime/socket.h"

#include "ztunnel/base/check.h"

#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>

namespace weft::runtime {
namespace {

// What the kernel may hold for us that it has not sent yet. More only adds delay, because what is
// in flight does not count (reference: cpp 2.3, rule 8).
constexpr int kUnsentBytesMax = 128 * 1024;
constexpr size_t kPiecesPerSend = 16;  // 256 KiB of full HTTP/2 frames

Fail cancelled() { return fail(Code::kCancelled, "the connection was aborted here"); }

}  // namespace

SocketStream::SocketStream(Loop& loop, Fd socket) : loop_(loop), socket_(std::move(socket)) {
  // Both fail on a unix socket, which needs neither.
  const int on = 1;
  setsockopt(socket_.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  bound_unsent(true);
}

SocketStream::~SocketStream() = default;

void SocketStream::bound_unsent(bool bounded) {
  const int bytes = bounded ? kUnsentBytesMax : 0;  // 0: the system's own bound, the send buffer
  setsockopt(socket_.get(), IPPROTO_TCP, TCP_NOTSENT_LOWAT, &bytes, sizeof bytes);
}

Task<Result<Buffer>> SocketStream::read() {
  if (aborted_) co_return cancelled();
  if (ended_) co_return Buffer();
  Buffer bytes;
  const int result = co_await loop_.receive(socket_.get(), bytes, busy_);
  if (aborted_) co_return cancelled();
  if (result < 0) co_return fail_errno(-result, "receiving");
  if (result == 0) ended_ = true;
  busy_ = static_cast<size_t>(result) == BufferPool::kBufferBytes;
  co_return bytes;
}

Task<Result<void>> SocketStream::write(Buffer bytes) {
  while (!bytes.empty()) {
    if (aborted_) co_return cancelled();
    const std::array<iovec, 1> pieces{iovec{bytes.data(), bytes.size()}};
    const int result = co_await loop_.send(socket_.get(), pieces);
    if (aborted_) co_return cancelled();
    if (result < 0) co_return fail_errno(-result, "sending");
    bytes.trim_front(static_cast<size_t>(result));
  }
  if (aborted_) co_return cancelled();
  co_return Result<void>();
}

Task<Result<void>> SocketStream::write_pieces(std::span<Buffer> pieces) {
  std::array<iovec, kPiecesPerSend> vector;
  while (!pieces.empty()) {
    if (aborted_) co_return cancelled();
    const size_t count = std::min(pieces.size(), vector.size());
    for (size_t i = 0; i < count; ++i) vector[i] = {pieces[i].data(), pieces[i].size()};
    const int result = co_await loop_.send(socket_.get(), std::span(vector).first(count));
    if (aborted_) co_return cancelled();
    if (result < 0) co_return fail_errno(-result, "sending");
    auto sent = static_cast<size_t>(result);
    while (!pieces.empty() && sent >= pieces.front().size()) {
      sent -= pieces.front().size();
      pieces.front().clear();
      pieces = pieces.subspan(1);
    }
    if (sent > 0) pieces.front().trim_front(sent);
  }
  if (aborted_) co_return cancelled();
  co_return Result<void>();
}

Task<Result<void>> SocketStream::shutdown_write() {
  if (aborted_) co_return cancelled();
  if (shutdown(socket_.get(), SHUT_WR) != 0) co_return fail_errno(errno, "ending the connection");
  co_return Result<void>();
}

void SocketStream::abort() {
  if (std::exchange(aborted_, true)) return;
  const linger at_once{.l_onoff = 1, .l_linger = 0};
  setsockopt(socket_.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  loop_.cancel(socket_.get());
  // Disconnecting sends the RST now rather than at close(2), which may be long in coming. A unix
  // socket knows no such thing: there the peer sees an end.
  sockaddr nobody{};
  nobody.sa_family = AF_UNSPEC;
  if (::connect(socket_.get(), &nobody, sizeof nobody) != 0) shutdown(socket_.get(), SHUT_RDWR);
}

namespace {

Result<SocketAddress> address_by(int (*call)(int, sockaddr*, socklen_t*), int fd,
                                 std::string_view what) {
  sockaddr_storage address{};
  socklen_t length = sizeof address;
  if (call(fd, reinterpret_cast<sockaddr*>(&address), &length) != 0) {
    return fail_errno(errno, what);
  }
  if (address.ss_family != AF_INET && address.ss_family != AF_INET6) {
    return fail(Code::kInvalid, std::string(what) + ": not an IP socket");
  }
  return SocketAddress::from_sockaddr(address);
}

}  // namespace

void send_over_loopback(int fd) {
  constexpr std::string_view kReno = "reno";
  // Fails on what is not TCP, and then matters to nobody.
  setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, kReno.data(), kReno.size());
}

Result<SocketAddress> local_address(int fd) {
  return address_by([](int socket, sockaddr* address,
                       socklen_t* length) { return getsockname(socket, address, length); },
                    fd, "reading a socket's own address");
}

Result<SocketAddress> peer_address(int fd) {
  return address_by([](int socket, sockaddr* address,
                       socklen_t* length) { return getpeername(socket, address, length); },
                    fd, "reading a socket's peer address");
}

}  // namespace weft::runtime
