#pragma once

#include "ztunnel/base/result.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <compare>
#include <cstdint>
#include <cstring>
#include <functional>
#include <span>
#include <string>
#include <string_view>

namespace weft {

// An IPv4 or IPv6 address. IPv4 is kept v4-mapped (::ffff:a.b.c.d), so that one 16-byte key serves
// both and a v4-mapped address that a socket reports equals the IPv4 address it stands for.
class IpAddress {
 public:
  IpAddress() = default;  // "::"
  static IpAddress v4(uint32_t host_order);
  static IpAddress from_in_addr(in_addr address);
  static IpAddress from_in6_addr(const in6_addr& address);
  // 4 or 16 bytes in network order, as protobuf messages carry them.
  static Result<IpAddress> from_bytes(std::string_view bytes);
  static Result<IpAddress> parse(std::string_view text);

  bool is_v4() const;
  bool is_loopback() const;
  bool is_unspecified() const;
  uint32_t v4_host_order() const;  // only if is_v4()
  const std::array<uint8_t, 16>& bytes16() const { return bytes_; }
  std::string to_bytes() const;  // 4 or 16 bytes in network order
  std::string to_string() const;

  auto operator<=>(const IpAddress&) const = default;

 private:
  std::array<uint8_t, 16> bytes_{};
};

struct SocketAddress {
  IpAddress ip;
  uint16_t port = 0;

  // "1.2.3.4:80" or "[::1]:80".
  static Result<SocketAddress> parse(std::string_view text);
  static SocketAddress from_sockaddr(const sockaddr_storage& address);
  // Fills `out` as AF_INET for IPv4 and AF_INET6 otherwise; returns the length in use.
  socklen_t to_sockaddr(sockaddr_storage& out) const;
  std::string to_string() const;

  auto operator<=>(const SocketAddress&) const = default;
};

// An address prefix. The host bits are zero.
class Cidr {
 public:
  Cidr() = default;
  // `length` counts bits of the address's own family: at most 32 for IPv4, 128 for IPv6.
  static Result<Cidr> make(IpAddress address, uint32_t length);
  // "10.0.0.0/8", or an address alone for a full-length prefix.
  static Result<Cidr> parse(std::string_view text);

  bool contains(const IpAddress& address) const;
  const IpAddress& address() const { return address_; }
  uint32_t length() const;  // bits of the address's own family
  std::string to_string() const;

  bool operator==(const Cidr&) const = default;

 private:
  IpAddress address_;
  uint8_t bits_ = 0;  // of 128
  bool v4_ = false;
};

}  // namespace weft

template <>
struct std::hash<weft::IpAddress> {
  size_t operator()(const weft::IpAddress& address) const noexcept {
    uint64_t high = 0;
    uint64_t low = 0;
    std::memcpy(&high, address.bytes16().data(), 8);
    std::memcpy(&low, address.bytes16().data() + 8, 8);
    // An IPv4 address fills the top bytes of `low`, and a product only carries upwards: both folds
    // are needed to bring its differences down to the bits that a hash table looks at.
    uint64_t mixed = (high ^ (low * 0x9E3779B97F4A7C15ULL));
    mixed ^= mixed >> 32;
    mixed *= 0xD6E8FEB86659FD93ULL;
    return mixed ^ (mixed >> 32);
  }
};

template <>
struct std::hash<weft::SocketAddress> {
  size_t operator()(const weft::SocketAddress& address) const noexcept {
    return std::hash<weft::IpAddress>{}(address.ip) * 31 + address.port;
  }
};
