#include "agent/enrol/netlink.h"

#include "bpf/weft_abi.h"
#include "ztunnel/base/fd.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <linux/fib_rules.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <memory>
#include <span>

namespace weft::enrol {
namespace {

// Before the main table's rule (32766) and before what CNIs add (Cilium 9 and 100 to 111, Calico
// 1000); each mark is our own, so the place only matters to rules that take everything.
constexpr uint32_t kRulePriority = 53;
constexpr uint16_t kDnsPort = 53;
constexpr std::array kLoopedMarks = {uint32_t{WEFT_MARK_OUTBOUND}, uint32_t{WEFT_MARK_INNER}};
constexpr size_t kRequestBytesMax = 256;  // a header, a family header, seven small attributes
constexpr size_t kReplyBytesMax = 4096;   // an acknowledgement with its extended text

// One rtnetlink request being written.
class Request {
 public:
  Request(uint16_t type, uint16_t flags) {
    header()->nlmsg_len = NLMSG_HDRLEN;
    header()->nlmsg_type = type;
    header()->nlmsg_flags = static_cast<uint16_t>(NLM_F_REQUEST | NLM_F_ACK | flags);
    header()->nlmsg_seq = 1;
  }

  template <class Body>
  void body(const Body& value) {
    std::memcpy(bytes_.data() + header()->nlmsg_len, &value, sizeof(value));
    header()->nlmsg_len = NLMSG_ALIGN(header()->nlmsg_len + sizeof(value));
  }

  template <class Value>
  void attribute(uint16_t type, const Value& value) {
    const size_t at = header()->nlmsg_len;
    const rtattr attribute{.rta_len = static_cast<uint16_t>(RTA_LENGTH(sizeof(value))),
                           .rta_type = type};
    std::memcpy(bytes_.data() + at, &attribute, sizeof(attribute));
    std::memcpy(bytes_.data() + at + RTA_LENGTH(0), &value, sizeof(value));
    header()->nlmsg_len = static_cast<uint32_t>(at + RTA_SPACE(sizeof(value)));
  }

  std::span<const char> bytes() { return {bytes_.data(), header()->nlmsg_len}; }

 private:
  nlmsghdr* header() { return reinterpret_cast<nlmsghdr*>(bytes_.data()); }

  alignas(nlmsghdr) std::array<char, kRequestBytesMax> bytes_{};
};

// Sends a request and waits for the kernel's answer: 0, or a positive errno.
Result<int> ask_kernel(Request request) {
  const Fd socket(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
  if (!socket) return fail_errno(errno, "opening rtnetlink");
  const std::span<const char> bytes = request.bytes();
  if (send(socket.get(), bytes.data(), bytes.size(), 0) < 0) {
    return fail_errno(errno, "writing to rtnetlink");
  }
  alignas(nlmsghdr) std::array<char, kReplyBytesMax> reply{};
  const ssize_t length = recv(socket.get(), reply.data(), reply.size(), 0);
  if (length < 0) return fail_errno(errno, "reading from rtnetlink");
  const auto* header = reinterpret_cast<const nlmsghdr*>(reply.data());
  if (static_cast<size_t>(length) < NLMSG_LENGTH(sizeof(nlmsgerr)) ||
      header->nlmsg_type != NLMSG_ERROR) {
    return fail(Code::kInternal, "rtnetlink answered something that is not an acknowledgement");
  }
  return -static_cast<const nlmsgerr*>(NLMSG_DATA(header))->error;
}

Request rule_request(uint16_t type, uint16_t flags, uint8_t family, uint32_t mark) {
  Request request(type, flags);
  fib_rule_hdr rule{};
  rule.family = family;
  rule.table = WEFT_ROUTE_TABLE;
  rule.action = FR_ACT_TO_TBL;
  request.body(rule);
  request.attribute(FRA_PRIORITY, kRulePriority);
  request.attribute(FRA_FWMARK, mark);
  request.attribute(FRA_FWMASK, uint32_t{WEFT_MARK_MASK});
  request.attribute(FRA_TABLE, uint32_t{WEFT_ROUTE_TABLE});
  return request;
}

Request dns_rule_request(uint16_t type, uint16_t flags, uint8_t family) {
  Request request = rule_request(type, flags, family, WEFT_MARK_DNS);
  request.attribute(FRA_IP_PROTO, uint8_t{IPPROTO_UDP});
  request.attribute(FRA_DPORT_RANGE, fib_rule_port_range{.start = kDnsPort, .end = kDnsPort});
  return request;
}

Request route_request(uint16_t type, uint16_t flags, uint8_t family, const IpAddress& source) {
  Request request(type, flags);
  rtmsg route{};
  route.rtm_family = family;
  route.rtm_table = WEFT_ROUTE_TABLE;
  route.rtm_protocol = RTPROT_STATIC;
  route.rtm_scope = family == AF_INET ? RT_SCOPE_HOST : RT_SCOPE_UNIVERSE;
  route.rtm_type = RTN_LOCAL;
  request.body(route);
  request.attribute(RTA_OIF, if_nametoindex("lo"));
  if (source.is_v4()) {
    request.attribute(RTA_PREFSRC, htonl(source.v4_host_order()));
  } else if (!source.is_unspecified()) {
    request.attribute(RTA_PREFSRC, source.bytes16());
  }
  return request;
}

// `tolerated` is the errno that says that things already are as asked.
Result<void> change(Request request, int tolerated, std::string what) {
  const int error = TRY(ask_kernel(std::move(request)));
  if (error != 0 && error != tolerated) return fail_errno(error, what);
  return {};
}

Result<void> add_family(uint8_t family, const IpAddress& source) {
  TRY(change(route_request(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, family, source), EEXIST,
             "adding the local route of table 100 (is lo up in the pod?)"));
  for (const uint32_t mark : kLoopedMarks) {
    TRY(change(rule_request(RTM_NEWRULE, NLM_F_CREATE | NLM_F_EXCL, family, mark), EEXIST,
               "adding the routing rule of a mark"));
  }
  return {};
}

Result<void> remove_family(uint8_t family) {
  for (const uint32_t mark : kLoopedMarks) {
    TRY(change(rule_request(RTM_DELRULE, 0, family, mark), ENOENT,
               "removing the routing rule of a mark"));
  }
  return change(route_request(RTM_DELROUTE, 0, family, {}), ESRCH,
                "removing the local route of table 100");
}

// Whether IPv6 is there at all: the kernel may have been built or started without it, and runtimes
// switch it off by sysctl in pods that have no address of it.
bool has_ipv6() {
  const Fd socket(::socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0));
  std::ifstream disabled("/proc/sys/net/ipv6/conf/lo/disable_ipv6");
  int value = 1;
  return socket && disabled >> value && value == 0;
}

}  // namespace

Result<std::string> interface_with(const IpAddress& address) {
  ifaddrs* list = nullptr;
  if (getifaddrs(&list) != 0) return fail_errno(errno, "listing the pod's addresses");
  const std::unique_ptr<ifaddrs, decltype(&freeifaddrs)> owner(list, &freeifaddrs);
  for (const ifaddrs* entry = list; entry != nullptr; entry = entry->ifa_next) {
    if (entry->ifa_addr == nullptr) continue;
    const int family = entry->ifa_addr->sa_family;
    if (family != AF_INET && family != AF_INET6) continue;
    sockaddr_storage storage{};
    std::memcpy(&storage, entry->ifa_addr,
                family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6));
    if (SocketAddress::from_sockaddr(storage).ip == address) return std::string(entry->ifa_name);
  }
  return fail(Code::kNotFound, "no interface of the pod holds " + address.to_string());
}

Result<void> add_loop_routes(const PodAddresses& pod) {
  TRY(add_family(AF_INET, pod.v4));
  if (!pod.has_v6() && !has_ipv6()) return {};
  return add_family(AF_INET6, pod.v6);
}

Result<void> remove_loop_routes() {
  TRY(remove_family(AF_INET));
  return has_ipv6() ? remove_family(AF_INET6) : Result<void>();
}

Result<void> add_dns_rules() {
  for (const uint8_t family : {AF_INET, AF_INET6}) {
    if (family == AF_INET6 && !has_ipv6()) continue;
    TRY(change(dns_rule_request(RTM_NEWRULE, NLM_F_CREATE | NLM_F_EXCL, family), EEXIST,
               "adding the routing rule of DNS"));
  }
  return {};
}

Result<void> remove_dns_rules() {
  for (const uint8_t family : {AF_INET, AF_INET6}) {
    if (family == AF_INET6 && !has_ipv6()) continue;
    TRY(change(dns_rule_request(RTM_DELRULE, 0, family), ENOENT,
               "removing the routing rule of DNS"));
  }
  return {};
}

}  // namespace weft::enrol
