#include "ztunnel/base/ip.h"

#include <arpa/inet.h>

#include <algorithm>
#include <charconv>

namespace weft {
namespace {

constexpr std::array<uint8_t, 12> kMappedPrefix{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
constexpr uint32_t kMappedBits = 96;

// What an error repeats of its input: enough to recognise it, not what a peer may send at length.
std::string quoted(std::string_view text) {
  constexpr size_t kShownBytesMax = 80;
  const bool cut = text.size() > kShownBytesMax;
  return "\"" + std::string(text.substr(0, kShownBytesMax)) + (cut ? "...\"" : "\"");
}

Result<uint32_t> parse_number(std::string_view text, uint32_t max, std::string_view what) {
  uint32_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc{} || end != text.data() + text.size() || value > max) {
    return fail(Code::kInvalid, std::string(what) + ": expected a number from 0 to " +
                                    std::to_string(max) + ", got " + quoted(text));
  }
  return value;
}

}  // namespace

IpAddress IpAddress::v4(uint32_t host_order) {
  in_addr address{};
  address.s_addr = htonl(host_order);
  return from_in_addr(address);
}

IpAddress IpAddress::from_in_addr(in_addr address) {
  IpAddress result;
  std::ranges::copy(kMappedPrefix, result.bytes_.begin());
  std::memcpy(result.bytes_.data() + kMappedPrefix.size(), &address.s_addr, 4);
  return result;
}

IpAddress IpAddress::from_in6_addr(const in6_addr& address) {
  IpAddress result;
  std::memcpy(result.bytes_.data(), address.s6_addr, 16);
  return result;
}

Result<IpAddress> IpAddress::from_bytes(std::string_view bytes) {
  if (bytes.size() == 4) {
    in_addr address{};
    std::memcpy(&address.s_addr, bytes.data(), 4);
    return from_in_addr(address);
  }
  if (bytes.size() == 16) {
    in6_addr address{};
    std::memcpy(address.s6_addr, bytes.data(), 16);
    return from_in6_addr(address);
  }
  return fail(Code::kInvalid,
              "an IP address has 4 or 16 bytes, this one " + std::to_string(bytes.size()));
}

Result<IpAddress> IpAddress::parse(std::string_view text) {
  // No address is longer, and inet_pton would read no further than to a NUL in the middle.
  if (text.size() >= INET6_ADDRSTRLEN || text.find('\0') != std::string_view::npos) {
    return fail(Code::kInvalid, "expected an IP address, got " + quoted(text));
  }
  const std::string terminated(text);
  in_addr v4_address{};
  if (inet_pton(AF_INET, terminated.c_str(), &v4_address) == 1) return from_in_addr(v4_address);
  in6_addr v6_address{};
  if (inet_pton(AF_INET6, terminated.c_str(), &v6_address) == 1) return from_in6_addr(v6_address);
  return fail(Code::kInvalid, "expected an IP address, got " + quoted(text));
}

bool IpAddress::is_v4() const {
  return std::equal(kMappedPrefix.begin(), kMappedPrefix.end(), bytes_.begin());
}

bool IpAddress::is_loopback() const {
  if (is_v4()) return bytes_[12] == 127;
  return std::all_of(bytes_.begin(), bytes_.end() - 1, [](uint8_t b) { return b == 0; }) &&
         bytes_[15] == 1;
}

bool IpAddress::is_unspecified() const {
  const size_t from = is_v4() ? kMappedPrefix.size() : 0;
  return std::all_of(bytes_.begin() + static_cast<ptrdiff_t>(from), bytes_.end(),
                     [](uint8_t b) { return b == 0; });
}

uint32_t IpAddress::v4_host_order() const {
  uint32_t value = 0;
  std::memcpy(&value, bytes_.data() + kMappedPrefix.size(), 4);
  return ntohl(value);
}

std::string IpAddress::to_bytes() const {
  const size_t from = is_v4() ? kMappedPrefix.size() : 0;
  return {reinterpret_cast<const char*>(bytes_.data()) + from, bytes_.size() - from};
}

std::string IpAddress::to_string() const {
  char text[INET6_ADDRSTRLEN];
  if (is_v4()) {
    inet_ntop(AF_INET, bytes_.data() + kMappedPrefix.size(), text, sizeof text);
  } else {
    inet_ntop(AF_INET6, bytes_.data(), text, sizeof text);
  }
  return text;
}

Result<SocketAddress> SocketAddress::parse(std::string_view text) {
  const size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) {
    return fail(Code::kInvalid, "expected address:port, got " + quoted(text));
  }
  std::string_view host = text.substr(0, colon);
  const bool bracketed = host.size() >= 2 && host.front() == '[' && host.back() == ']';
  if (bracketed) host = host.substr(1, host.size() - 2);
  if (bracketed != (host.find(':') != std::string_view::npos)) {
    return fail(Code::kInvalid, "expected an IPv6 address in brackets, got " + quoted(text));
  }
  SocketAddress result;
  result.ip = TRY(IpAddress::parse(host));
  result.port = static_cast<uint16_t>(TRY(parse_number(text.substr(colon + 1), 65535, "port")));
  return result;
}

SocketAddress SocketAddress::from_sockaddr(const sockaddr_storage& address) {
  SocketAddress result;
  if (address.ss_family == AF_INET) {
    const auto& v4 = reinterpret_cast<const sockaddr_in&>(address);
    result.ip = IpAddress::from_in_addr(v4.sin_addr);
    result.port = ntohs(v4.sin_port);
  } else if (address.ss_family == AF_INET6) {
    const auto& v6 = reinterpret_cast<const sockaddr_in6&>(address);
    result.ip = IpAddress::from_in6_addr(v6.sin6_addr);
    result.port = ntohs(v6.sin6_port);
  }
  return result;
}

socklen_t SocketAddress::to_sockaddr(sockaddr_storage& out) const {
  out = {};
  if (ip.is_v4()) {
    auto& v4 = reinterpret_cast<sockaddr_in&>(out);
    v4.sin_family = AF_INET;
    v4.sin_port = htons(port);
    v4.sin_addr.s_addr = htonl(ip.v4_host_order());
    return sizeof v4;
  }
  auto& v6 = reinterpret_cast<sockaddr_in6&>(out);
  v6.sin6_family = AF_INET6;
  v6.sin6_port = htons(port);
  std::memcpy(v6.sin6_addr.s6_addr, ip.bytes16().data(), 16);
  return sizeof v6;
}

std::string SocketAddress::to_string() const {
  const std::string digits = std::to_string(port);
  if (ip.is_v4()) return ip.to_string() + ":" + digits;
  return "[" + ip.to_string() + "]:" + digits;
}

Result<Cidr> Cidr::make(IpAddress address, uint32_t length) {
  const bool v4 = address.is_v4();
  const uint32_t max = v4 ? 32 : 128;
  if (length > max) {
    return fail(Code::kInvalid, "a prefix of " + address.to_string() + " has at most " +
                                    std::to_string(max) + " bits, not " + std::to_string(length));
  }
  Cidr result;
  result.bits_ = static_cast<uint8_t>(v4 ? length + kMappedBits : length);
  result.v4_ = v4;
  std::array<uint8_t, 16> bytes = address.bytes16();
  for (uint32_t bit = result.bits_; bit < 128; ++bit) {
    bytes[bit / 8] &= static_cast<uint8_t>(~(0x80U >> (bit % 8)));
  }
  in6_addr masked{};
  std::memcpy(masked.s6_addr, bytes.data(), 16);
  result.address_ = IpAddress::from_in6_addr(masked);
  return result;
}

Result<Cidr> Cidr::parse(std::string_view text) {
  const size_t slash = text.find('/');
  const IpAddress address = TRY(IpAddress::parse(text.substr(0, slash)));
  const uint32_t max = address.is_v4() ? 32 : 128;
  if (slash == std::string_view::npos) return make(address, max);
  return make(address, TRY(parse_number(text.substr(slash + 1), max, "prefix length")));
}

bool Cidr::contains(const IpAddress& address) const {
  if (address.is_v4() != v4_) return false;
  const size_t whole = bits_ / 8;
  if (std::memcmp(address.bytes16().data(), address_.bytes16().data(), whole) != 0) return false;
  const uint32_t rest = bits_ % 8;
  if (rest == 0) return true;
  const auto mask = static_cast<uint8_t>(0xff00U >> rest);
  return (address.bytes16()[whole] & mask) == (address_.bytes16()[whole] & mask);
}

uint32_t Cidr::length() const { return v4_ ? bits_ - kMappedBits : bits_; }

std::string Cidr::to_string() const {
  return address_.to_string() + "/" + std::to_string(length());
}

}  // namespace weft
