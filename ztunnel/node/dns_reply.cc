#include "ztunnel/node/dns_reply.h"

#include "ztunnel/runtime/socket.h"

#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/udp.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>

namespace weft::node {
namespace {

constexpr uint8_t kHops = 64;

// RFC 1071: the sum of all 16-bit words.
uint64_t sum_of(std::string_view bytes) {
  uint64_t sum = 0;
  for (size_t i = 0; i < bytes.size(); ++i) {
    const uint64_t byte = static_cast<unsigned char>(bytes[i]);
    sum += i % 2 == 0 ? byte << 8U : byte;
  }
  return sum;
}

// RFC 768 and RFC 8200 section 8.1: over the addresses, the length, the protocol and the datagram.
uint16_t udp_checksum(const SocketAddress& from, const SocketAddress& to,
                      std::string_view datagram) {
  uint64_t sum = sum_of(from.ip.to_bytes()) + sum_of(to.ip.to_bytes()) + datagram.size() +
                 IPPROTO_UDP + sum_of(datagram);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16U);
  const auto checksum = static_cast<uint16_t>(~sum);
  return checksum == 0 ? 0xffff : checksum;  // 0 means none
}

template <class Header>
std::string_view bytes_of(const Header& header) {
  return {reinterpret_cast<const char*>(&header), sizeof header};
}

std::string v4_header(const SocketAddress& from, const SocketAddress& to, size_t payload) {
  iphdr header{};
  header.version = 4;
  header.ihl = sizeof header / 4;
  header.tot_len = htons(static_cast<uint16_t>(sizeof header + payload));
  header.frag_off = htons(IP_DF);
  header.ttl = kHops;
  header.protocol = IPPROTO_UDP;
  header.saddr = htonl(from.ip.v4_host_order());
  header.daddr = htonl(to.ip.v4_host_order());
  return std::string(bytes_of(header));
}

std::string v6_header(const SocketAddress& from, const SocketAddress& to, size_t payload) {
  ip6_hdr header{};
  header.ip6_vfc = 6U << 4U;
  header.ip6_plen = htons(static_cast<uint16_t>(payload));
  header.ip6_nxt = IPPROTO_UDP;
  header.ip6_hlim = kHops;
  std::memcpy(&header.ip6_src, from.ip.bytes16().data(), sizeof header.ip6_src);
  std::memcpy(&header.ip6_dst, to.ip.bytes16().data(), sizeof header.ip6_dst);
  return std::string(bytes_of(header));
}

}  // namespace

std::string make_datagram(const SocketAddress& from, const SocketAddress& to,
                          std::string_view payload) {
  udphdr udp{};
  udp.source = htons(from.port);
  udp.dest = htons(to.port);
  udp.len = htons(static_cast<uint16_t>(sizeof udp + payload.size()));
  std::string datagram(bytes_of(udp));
  datagram += payload;
  udp.check = htons(udp_checksum(from, to, datagram));
  std::memcpy(datagram.data(), &udp, sizeof udp);
  const auto header = from.ip.is_v4() ? v4_header : v6_header;
  return header(from, to, datagram.size()) + datagram;
}

Result<void> DnsReplies::send(const SocketAddress& from, const SocketAddress& to,
                              std::string_view payload) {
  // The lengths in the headers have 16 bits.
  constexpr size_t kPayloadMax = 65535 - sizeof(iphdr) - sizeof(udphdr);
  if (payload.size() > kPayloadMax) {
    return fail(Code::kLimit, "a DNS answer of more than " + std::to_string(kPayloadMax) +
                                  " bytes does not fit into a datagram");
  }
  const bool v4 = to.ip.is_v4();
  Fd& socket = v4 ? v4_ : v6_;
  if (!socket) {
    socket = TRY(runtime::socket_in(netns_fd_, v4 ? AF_INET : AF_INET6, SOCK_RAW, IPPROTO_RAW));
  }
  const std::string packet = make_datagram(from, to, payload);
  sockaddr_storage address{};
  const socklen_t length = SocketAddress{to.ip, 0}.to_sockaddr(address);
  if (sendto(socket.get(), packet.data(), packet.size(), MSG_DONTWAIT,
             reinterpret_cast<const sockaddr*>(&address), length) < 0) {
    return fail_errno(errno, "answering a DNS query of " + to.to_string());
  }
  return {};
}

}  // namespace weft::node
