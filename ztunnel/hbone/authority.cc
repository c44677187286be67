#include "ztunnel/hbone/authority.h"

#include "ztunnel/base/ip.h"

#include <algorithm>
#include <charconv>
#include <string>

namespace weft::hbone {
namespace {

constexpr size_t kHostBytesMax = 253;  // of a DNS name

bool is_host_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
         c == '.' || c == '_';
}

}  // namespace

Result<void> check_authority(std::string_view authority) {
  const auto wrong = [&](std::string_view why) {
    return fail(Code::kInvalid, ":authority \"" + std::string(authority.substr(0, kHostBytesMax)) +
                                    "\": " + std::string(why));
  };
  const size_t colon = authority.rfind(':');
  if (colon == std::string_view::npos) return wrong("expected host:port");
  const std::string_view digits = authority.substr(colon + 1);
  uint32_t port = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
  if (error != std::errc{} || end != digits.data() + digits.size() || port == 0 || port > 65535) {
    return wrong("expected a port from 1 to 65535");
  }
  const std::string_view host = authority.substr(0, colon);
  if (host.starts_with('[')) {
    if (!SocketAddress::parse(authority)) return wrong("expected an IPv6 address in brackets");
    return {};
  }
  if (host.empty() || host.size() > kHostBytesMax ||
      !std::ranges::all_of(host, is_host_character)) {
    return wrong("expected an IP address or a host name");
  }
  return {};
}

}  // namespace weft::hbone
