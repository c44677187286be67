#include "tests/unit/agent/enrol/fake_ztunnel.h"

#include "tests/unit/agent/enrol/testbed.h"
#include "ztunnel/base/check.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <map>

namespace weft::enrol::testing {
namespace {

using istio::workload::zds::WorkloadRequest;
using istio::workload::zds::WorkloadResponse;

// -1: nobody listens.
int connect_seqpacket(const std::string& path) {
  const int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, path.c_str(), sizeof(address.sun_path) - 1);
  if (connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0) return fd;
  close(fd);
  return -1;
}

bool is_readable(int fd, int milliseconds) {
  pollfd wait{.fd = fd, .events = POLLIN, .revents = 0};
  return poll(&wait, 1, milliseconds) == 1;
}

}  // namespace

FakeZtunnel::FakeZtunnel(const std::string& path) : socket_(connect_seqpacket(path)) {
  CHECK(socket_);
}

void FakeZtunnel::say(std::string_view bytes) {
  CHECK(send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL) ==
        static_cast<ssize_t>(bytes.size()));
}

void FakeZtunnel::say_with(std::string_view bytes, int descriptor) {
  iovec piece{.iov_base = const_cast<char*>(bytes.data()), .iov_len = bytes.size()};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
  msghdr message{};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof(int));
  std::memcpy(CMSG_DATA(header), &descriptor, sizeof(int));
  CHECK(sendmsg(socket_.get(), &message, MSG_NOSIGNAL) == static_cast<ssize_t>(bytes.size()));
}

void FakeZtunnel::ack(const std::string& error) {
  WorkloadResponse response;
  response.mutable_ack()->set_error(error);
  say(response.SerializeAsString());
}

std::optional<FakeZtunnel::Message> FakeZtunnel::next() {
  if (!is_readable(socket_.get(), kWaitSeconds * 1000)) return std::nullopt;
  std::array<char, 1024> bytes{};  // what Istio's ztunnel reads
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int) * 8)> control{};
  iovec piece{.iov_base = bytes.data(), .iov_len = bytes.size()};
  msghdr header{};
  header.msg_iov = &piece;
  header.msg_iovlen = 1;
  header.msg_control = control.data();
  header.msg_controllen = control.size();
  const ssize_t length = recvmsg(socket_.get(), &header, MSG_CMSG_CLOEXEC);
  if (length <= 0) return std::nullopt;
  Message message;
  CHECK(message.request.ParseFromArray(bytes.data(), static_cast<int>(length)));
  for (cmsghdr* part = CMSG_FIRSTHDR(&header); part != nullptr; part = CMSG_NXTHDR(&header, part)) {
    const size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(part) + i * sizeof(int), sizeof(int));
      message.descriptors.emplace_back(fd);
    }
  }
  return message;
}

bool FakeZtunnel::is_closed() {
  if (!is_readable(socket_.get(), kWaitSeconds * 1000)) return false;
  char byte = 0;
  return recv(socket_.get(), &byte, 1, 0) <= 0;
}

void serve_as_ztunnel(const std::string& path, const std::string& greeting) {
  std::optional<FakeZtunnel> agent;
  // By uid. An add takes new copies of the same sockets over; a delete closes them.
  std::map<std::string, std::vector<Fd>> listeners;
  while (true) {
    if (!agent && access(path.c_str(), F_OK) == 0) {
      const int probe = connect_seqpacket(path);
      if (probe >= 0) {
        close(probe);
        agent.emplace(path);
        agent->say(kHelloForListeners);
      }
    }
    std::vector<pollfd> waits;
    waits.push_back({.fd = agent ? agent->fd() : -1, .events = POLLIN, .revents = 0});
    for (const auto& [uid, fds] : listeners) {
      for (const Fd& fd : fds) waits.push_back({.fd = fd.get(), .events = POLLIN, .revents = 0});
    }
    poll(waits.data(), waits.size(), 10);
    for (size_t i = 1; i < waits.size(); ++i) {
      if ((waits[i].revents & POLLIN) == 0) continue;
      const Fd connection(accept4(waits[i].fd, nullptr, nullptr, SOCK_CLOEXEC));
      if (connection) write_text(connection.get(), greeting);
    }
    if (waits[0].revents == 0) continue;
    std::optional<FakeZtunnel::Message> message = agent->next();
    if (!message) {
      agent.reset();
      continue;
    }
    if (message->request.has_add()) {
      std::vector<Fd> fds;
      for (size_t i = 1; i < message->descriptors.size(); ++i) {
        fds.push_back(std::move(message->descriptors[i]));
      }
      listeners[message->request.add().uid()] = std::move(fds);
    }
    if (message->request.has_del()) listeners.erase(message->request.del().uid());
    agent->ack();
  }
}

}  // namespace weft::enrol::testing
