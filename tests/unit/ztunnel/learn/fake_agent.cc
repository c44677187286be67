#include "tests/unit/ztunnel/learn/fake_agent.h"

#include "ztunnel/base/check.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace weft::learn::testing {

namespace {

void set_timeouts(int fd) {
  const timeval limit{.tv_sec = 20, .tv_usec = 0};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
}

}  // namespace

FakeAgent::FakeAgent(const std::string& path)
    : listener_(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0)) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  CHECK(path.size() < sizeof address.sun_path);
  std::memcpy(address.sun_path, path.data(), path.size());
  unlink(path.c_str());
  CHECK(bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
  CHECK(listen(listener_.get(), 1) == 0);
  set_timeouts(listener_.get());
}

void FakeAgent::accept() {
  do {
    connection_ = Fd(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
  } while (!connection_ && errno == EINTR);
  CHECK(connection_);
  set_timeouts(connection_.get());
  char bytes[4096];
  ssize_t got = -1;
  do {
    got = recv(connection_.get(), bytes, sizeof bytes, 0);
  } while (got < 0 && errno == EINTR);
  CHECK(got > 0);
  CHECK(hello.ParseFromArray(bytes, static_cast<int>(got)));
}

void FakeAgent::send_bytes(const std::string& bytes, const std::vector<int>& fds) {
  iovec piece{const_cast<char*>(bytes.data()), bytes.size()};
  alignas(cmsghdr) char control[CMSG_SPACE(32 * sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  if (!fds.empty()) {
    message.msg_control = control;
    message.msg_controllen = CMSG_SPACE(fds.size() * sizeof(int));
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(fds.size() * sizeof(int));
    std::memcpy(CMSG_DATA(header), fds.data(), fds.size() * sizeof(int));
  }
  CHECK(sendmsg(connection_.get(), &message, MSG_NOSIGNAL) >= 0);
}

void FakeAgent::send(const istio::workload::zds::WorkloadRequest& request,
                     const std::vector<int>& fds) {
  send_bytes(request.SerializeAsString(), fds);
}

std::optional<FakeAgent::Response> FakeAgent::receive() {
  char bytes[4096];
  iovec piece{bytes, sizeof bytes};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  ssize_t got = -1;
  do {
    got = recvmsg(connection_.get(), &message, MSG_CMSG_CLOEXEC);
  } while (got < 0 && errno == EINTR);
  if (got <= 0) return std::nullopt;
  Response response;
  CHECK(response.message.ParseFromArray(bytes, static_cast<int>(got)));
  if (const cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr) {
    int fd = -1;
    std::memcpy(&fd, CMSG_DATA(header), sizeof fd);
    response.fd = Fd(fd);
  }
  return response;
}

std::string FakeAgent::receive_ack() {
  while (true) {
    auto response = receive();
    if (!response) return "the connection has ended";
    if (response->message.has_ack()) return response->message.ack().error();
    parked = std::move(response->fd);
  }
}

void FakeAgent::add_pod(const std::string& uid, const std::string& name,
                        const std::string& service_account, int netns, int inbound, int outbound) {
  istio::workload::zds::WorkloadRequest request;
  auto& add = *request.mutable_add();
  add.set_uid(uid);
  add.mutable_workload_info()->set_name(name);
  add.mutable_workload_info()->set_namespace_("shop");
  add.mutable_workload_info()->set_service_account(service_account);
  add.add_listeners(istio::workload::zds::INBOUND_V4);
  add.add_listeners(istio::workload::zds::OUTBOUND_V4);
  send(request, {netns, inbound, outbound});
}

void FakeAgent::snapshot_sent() {
  istio::workload::zds::WorkloadRequest request;
  request.mutable_snapshot_sent();
  send(request);
}

Fd listening_socket() {
  Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  CHECK(bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
  CHECK(listen(fd.get(), 1) == 0);
  return fd;
}

Fd own_netns() { return Fd(open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC)); }

}  // namespace weft::learn::testing
