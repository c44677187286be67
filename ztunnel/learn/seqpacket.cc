#include "ztunnel/learn/seqpacket.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cerrno>
#include <cstring>

namespace weft::learn {
namespace {

using runtime::Task;

void take_descriptors(msghdr& message, std::vector<Fd>& out) {
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr;
       header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
    const size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(header) + i * sizeof fd, sizeof fd);
      out.emplace_back(fd);
    }
  }
}

// -errno, or the number of bytes.
ssize_t receive_now(int fd, Packet& packet) {
  packet.bytes.resize(SeqpacketSocket::kPacketBytesMax);
  iovec piece{packet.bytes.data(), packet.bytes.size()};
  alignas(cmsghdr) char control[CMSG_SPACE(SeqpacketSocket::kDescriptorsMax * sizeof(int))];
  msghdr message{};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  const ssize_t got = recvmsg(fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  if (got < 0) return -errno;
  take_descriptors(message, packet.fds);
  packet.truncated = (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0;
  packet.bytes.resize(static_cast<size_t>(got));
  return got;
}

ssize_t send_now(int fd, const std::string& bytes, int passed) {
  iovec piece{const_cast<char*>(bytes.data()), bytes.size()};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  if (passed >= 0) {
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    std::memcpy(CMSG_DATA(header), &passed, sizeof passed);
  }
  const ssize_t sent = sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
  return sent < 0 ? -errno : sent;
}

Fail cancelled() { return fail(Code::kCancelled, "the connection was aborted here"); }

}  // namespace

Result<std::unique_ptr<SeqpacketSocket>> SeqpacketSocket::connect(runtime::Loop& loop,
                                                                  const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof address.sun_path) {
    return fail(Code::kInvalid, "not the path of a unix socket: \"" + path + "\"");
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  Fd socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!socket) return fail_errno(errno, "making a unix socket");
  // Does not wait: a unix socket is connected at once, or its backlog is full (EAGAIN).
  if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    return fail_errno(errno, "connecting to the node agent at " + path);
  }
  return std::make_unique<SeqpacketSocket>(loop, std::move(socket));
}

Task<Result<Packet>> SeqpacketSocket::receive() {
  while (true) {
    if (aborted_) co_return cancelled();
    Packet packet;
    const ssize_t got = receive_now(socket_.get(), packet);
    if (got > 0) co_return packet;
    if (got == 0) co_return fail(Code::kClosed, "the node agent has closed the connection");
    if (got == -EINTR) continue;
    if (got != -EAGAIN) co_return fail_errno(static_cast<int>(-got), "receiving from the agent");
    const int ready = co_await loop_.poll(socket_.get(), POLLIN);
    if (aborted_) co_return cancelled();
    if (ready < 0) co_return fail_errno(-ready, "waiting for the agent");
  }
}

Task<Result<void>> SeqpacketSocket::send(std::string bytes, int fd) {
  while (true) {
    if (aborted_) co_return cancelled();
    const ssize_t sent = send_now(socket_.get(), bytes, fd);
    if (sent >= 0) co_return Result<void>();
    if (sent == -EINTR) continue;
    if (sent != -EAGAIN) co_return fail_errno(static_cast<int>(-sent), "sending to the agent");
    const int ready = co_await loop_.poll(socket_.get(), POLLOUT);
    if (aborted_) co_return cancelled();
    if (ready < 0) co_return fail_errno(-ready, "waiting for the agent");
  }
}

void SeqpacketSocket::abort() {
  if (std::exchange(aborted_, true)) return;
  loop_.cancel(socket_.get());
  shutdown(socket_.get(), SHUT_RDWR);
}

}  // namespace weft::learn
