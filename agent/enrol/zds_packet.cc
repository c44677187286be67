#include "agent/enrol/zds_packet.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

namespace weft::enrol {
namespace {

using istio::workload::zds::Version;
using istio::workload::zds::WorkloadResponse;
using istio::workload::zds::ZdsHello;

// An identity is about 6 KiB (key, chain, roots); a node runs at most some hundred.
constexpr off_t kParkedBytesMax = 16 * 1024 * 1024;

std::vector<Fd> take_descriptors(msghdr& message) {
  std::vector<Fd> descriptors;
  for (cmsghdr* control = CMSG_FIRSTHDR(&message); control != nullptr;
       control = CMSG_NXTHDR(&message, control)) {
    if (control->cmsg_level != SOL_SOCKET || control->cmsg_type != SCM_RIGHTS) continue;
    const size_t count = (control->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(control) + i * sizeof(int), sizeof(int));
      descriptors.emplace_back(fd);
    }
  }
  return descriptors;
}

}  // namespace

Result<Fd> listen_seqpacket(const std::string& path, int backlog) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.sun_path)) {
    return fail(Code::kInvalid, "socket path " + path + " is longer than " +
                                    std::to_string(sizeof(address.sun_path) - 1) + " bytes");
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  Fd socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket) return fail_errno(errno, "making a unix socket");
  unlink(path.c_str());
  if (bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    return fail_errno(errno, "binding " + path);
  }
  // Before listen(2) nobody can connect, so there is no moment with a wider mode.
  if (chmod(path.c_str(), 0600) != 0) return fail_errno(errno, "setting the mode of " + path);
  if (::listen(socket.get(), backlog) != 0) return fail_errno(errno, "listening on " + path);
  return socket;
}

Result<Packet> receive_packet(int socket, size_t bytes_max) {
  Packet packet;
  packet.bytes.resize(bytes_max);
  iovec piece{.iov_base = packet.bytes.data(), .iov_len = packet.bytes.size()};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int) * kDescriptorsMax)> control{};
  msghdr message{};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  const ssize_t length = recvmsg(socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  if (length < 0) {
    if (errno == EAGAIN || errno == EINTR) return fail(Code::kUnavailable, "no packet yet");
    return fail_errno(errno, "reading a packet");
  }
  packet.descriptors = take_descriptors(message);
  if (length == 0) return fail(Code::kClosed, "the peer closed the connection");
  if ((message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0) {
    return fail(Code::kLimit, "packet is longer than " + std::to_string(bytes_max) +
                                  " bytes or carries more than " + std::to_string(kDescriptorsMax) +
                                  " descriptors");
  }
  packet.bytes.resize(static_cast<size_t>(length));
  return packet;
}

Result<void> send_packet(int socket, std::string_view bytes, std::span<const int> descriptors) {
  if (bytes.size() > kSentPacketBytesMax || descriptors.size() > kDescriptorsMax) {
    return fail(Code::kLimit, "ZDS message of " + std::to_string(bytes.size()) + " bytes and " +
                                  std::to_string(descriptors.size()) + " descriptors is too long");
  }
  iovec piece{.iov_base = const_cast<char*>(bytes.data()), .iov_len = bytes.size()};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int) * kDescriptorsMax)> control{};
  msghdr message{};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  if (!descriptors.empty()) {
    message.msg_control = control.data();
    message.msg_controllen = CMSG_SPACE(descriptors.size_bytes());
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(descriptors.size_bytes());
    std::memcpy(CMSG_DATA(header), descriptors.data(), descriptors.size_bytes());
  }
  if (sendmsg(socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0) return {};
  if (errno == EAGAIN || errno == EINTR) return fail(Code::kUnavailable, "no room for a packet");
  return fail_errno(errno, "writing a packet");
}

Result<Hello> parse_hello(std::string_view bytes) {
  ZdsHello hello;
  if (!hello.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    return fail(Code::kInvalid, "hello: expected an istio.workload.zds.ZdsHello");
  }
  if (hello.version() != Version::V1) {
    return fail(Code::kUnsupported,
                "hello: version " + std::to_string(hello.version()) + ", expected V1");
  }
  return Hello{.wants_listeners = hello.wants_listeners(), .wants_parking = hello.wants_parking()};
}

Result<Response> parse_response(std::string_view bytes) {
  WorkloadResponse response;
  if (!response.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    return fail(Code::kInvalid, "expected an istio.workload.zds.WorkloadResponse");
  }
  switch (response.payload_case()) {
    case WorkloadResponse::kAck:
      return Response{.park = false, .error = response.ack().error()};
    case WorkloadResponse::kPark:
      return Response{.park = true, .error = {}};
    case WorkloadResponse::PAYLOAD_NOT_SET:
      break;
  }
  return fail(Code::kInvalid, "WorkloadResponse: expected ack or park");
}

Result<void> check_parked(int memfd) {
  const int seals = fcntl(memfd, F_GET_SEALS);
  constexpr int kNeeded = F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW;
  if (seals < 0 || (seals & kNeeded) != kNeeded) {
    return fail(Code::kInvalid, "parked descriptor: expected a memfd sealed against every change");
  }
  struct stat status{};
  if (fstat(memfd, &status) != 0) return fail_errno(errno, "looking at a parked memfd");
  if (status.st_size > kParkedBytesMax) {
    return fail(Code::kLimit, "parked memfd: " + std::to_string(status.st_size) +
                                  " bytes, expected at most " + std::to_string(kParkedBytesMax));
  }
  return {};
}

}  // namespace weft::enrol
