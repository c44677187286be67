#include "ztunnel/learn/zds_message.h"

#include "proto/zds.pb.h"

#include <fcntl.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <cerrno>
#include <optional>
#include <span>

namespace weft::learn {
namespace {

namespace pb = istio::workload::zds;

constexpr size_t kUidBytesMax = 256;
constexpr size_t kNameBytesMax = 253;  // of a Kubernetes object

Fail wrong(const std::string& what) { return fail(Code::kInvalid, "ZDS: " + what); }

Result<void> check_uid(const std::string& uid) {
  if (!uid.empty() && uid.size() <= kUidBytesMax) return {};
  return wrong("uid: expected 1 to " + std::to_string(kUidBytesMax) + " bytes");
}

Result<void> check_name(const std::string& name, const std::string& field) {
  if (!name.empty() && name.size() <= kNameBytesMax) return {};
  return wrong(field + ": expected 1 to " + std::to_string(kNameBytesMax) + " bytes");
}

Result<void> check_netns(int fd) {
  if (ioctl(fd, NS_GET_NSTYPE) == CLONE_NEWNET) return {};
  return wrong("the first descriptor is not a network namespace");
}

// Where the kind's socket is kept; nullopt for a kind that is unknown to this version.
std::optional<ListenerKind> kind_of(pb::Listener kind) {
  switch (kind) {
    case pb::INBOUND_V4:
      return ListenerKind::kInboundV4;
    case pb::OUTBOUND_V4:
      return ListenerKind::kOutboundV4;
    case pb::INBOUND_V6:
      return ListenerKind::kInboundV6;
    case pb::OUTBOUND_V6:
      return ListenerKind::kOutboundV6;
    case pb::DNS_V4:
      return ListenerKind::kDnsV4;
    case pb::DNS_V6:
      return ListenerKind::kDnsV6;
    default:
      return std::nullopt;
  }
}

bool has_option(int fd, int option, int expected) {
  int value = 0;
  socklen_t length = sizeof value;
  return getsockopt(fd, SOL_SOCKET, option, &value, &length) == 0 && value == expected;
}

// Also makes it non-blocking, as our loops need it; the agent does not read from it.
Result<void> check_socket(int fd, ListenerKind kind) {
  const bool is_dns = kind == ListenerKind::kDnsV4 || kind == ListenerKind::kDnsV6;
  if (is_dns && !has_option(fd, SO_TYPE, SOCK_DGRAM)) {
    return wrong("a DNS descriptor is not a datagram socket");
  }
  if (!is_dns && !has_option(fd, SO_ACCEPTCONN, 1)) {
    return wrong("a listener's descriptor is not a listening socket");
  }
  const bool is_v6 = kind == ListenerKind::kInboundV6 || kind == ListenerKind::kOutboundV6 ||
                     kind == ListenerKind::kDnsV6;
  if (!has_option(fd, SO_DOMAIN, is_v6 ? AF_INET6 : AF_INET)) {
    return wrong(std::string("a listener's descriptor is not a socket of ") +
                 (is_v6 ? "IPv6" : "IPv4"));
  }
  const int flags = fcntl(fd, F_GETFL);
  if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0) {
    return fail_errno(errno, "making a listener non-blocking");
  }
  return {};
}

// Each descriptor to the place of its kind.
Result<void> take_listeners(const pb::AddWorkload& add, std::span<Fd> fds, Pod& pod) {
  for (int i = 0; i < add.listeners_size(); ++i) {
    const pb::Listener named = add.listeners(i);
    const std::optional<ListenerKind> kind = kind_of(named);
    if (!kind) {
      return wrong("listeners: kind " + std::to_string(named) + " is unknown to this version");
    }
    Fd& place = pod.listener(*kind);
    if (place) return wrong("listeners: " + pb::Listener_Name(named) + " is named twice");
    Fd& listener = fds[static_cast<size_t>(i)];
    TRY(check_socket(listener.get(), *kind));
    place = std::move(listener);
  }
  if (pod.listener(ListenerKind::kInboundV4) && pod.listener(ListenerKind::kOutboundV4)) return {};
  return wrong("listeners: expected at least INBOUND_V4 and OUTBOUND_V4");
}

Result<ZdsMessage> decode_add(const pb::AddWorkload& add, std::vector<Fd> fds) {
  TRY(check_uid(add.uid()));
  const pb::WorkloadInfo& info = add.workload_info();
  TRY(check_name(info.name(), "workload_info.name"));
  TRY(check_name(info.namespace_(), "workload_info.namespace"));
  TRY(check_name(info.service_account(), "workload_info.service_account"));
  const size_t expected = 1 + static_cast<size_t>(add.listeners_size());
  if (fds.size() != expected) {
    return wrong("expected " + std::to_string(expected) +
                 " descriptors (the netns and its listeners), got " + std::to_string(fds.size()));
  }
  auto pod = std::make_shared<Pod>();
  pod->uid = add.uid();
  pod->name = info.name();
  pod->ns = info.namespace_();
  pod->service_account = info.service_account();
  pod->answers_dns = add.answers_dns();
  pod->peer_port_by_mark = add.peer_port_by_mark();
  TRY(check_netns(fds[0].get()));
  pod->netns = std::move(fds[0]);
  if (add.listeners_size() == 0) {
    pod->redirected = true;
    pod->answers_dns = true;  // of what is redirected to our port for it
    return AddPod{std::move(pod)};
  }
  TRY(take_listeners(add, std::span(fds).subspan(1), *pod));
  return AddPod{std::move(pod)};
}

}  // namespace

Result<ZdsMessage> decode_zds(Packet packet) {
  if (packet.truncated) return wrong("a packet with more bytes or descriptors than are taken");
  pb::WorkloadRequest request;
  if (!request.ParseFromString(packet.bytes)) return wrong("not a WorkloadRequest");
  if (request.has_add()) return decode_add(request.add(), std::move(packet.fds));
  if (request.has_parked()) {
    if (packet.fds.size() != 1) {
      return wrong("Parked: expected one descriptor, got " + std::to_string(packet.fds.size()));
    }
    return ParkedMemory{std::move(packet.fds.front())};
  }
  if (!packet.fds.empty()) return wrong("descriptors with a message that has none");
  if (request.has_keep()) {
    TRY(check_uid(request.keep().uid()));
    return KeepPod{request.keep().uid()};
  }
  if (request.has_del()) {
    TRY(check_uid(request.del().uid()));
    return RemovePod{request.del().uid()};
  }
  if (request.has_snapshot_sent()) return SnapshotSent{};
  return wrong("a request that is unknown to this version");
}

}  // namespace weft::learn
