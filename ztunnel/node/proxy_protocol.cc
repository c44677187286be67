#include "ztunnel/node/proxy_protocol.h"

#include <string_view>

namespace weft::node {
namespace {

using namespace std::string_view_literals;

constexpr std::string_view kSignature = "\r\n\r\n\0\r\nQUIT\n"sv;
constexpr char kVersion2Proxy = 0x21;
constexpr char kTcpOverIp4 = 0x11;
constexpr char kTcpOverIp6 = 0x21;

void append_number(std::string& out, uint16_t number) {
  out += static_cast<char>(number >> 8U);
  out += static_cast<char>(number & 0xFFU);
}

}  // namespace

std::string proxy_header(const SocketAddress& source, const SocketAddress& destination,
                         const SpiffeId* identity) {
  const bool v4 = source.ip.is_v4() && destination.ip.is_v4();
  std::string body;
  for (const IpAddress& ip : {source.ip, destination.ip}) {
    const auto& bytes = ip.bytes16();  // IPv4 in IPv6: the last four of ::ffff:a.b.c.d
    body.append(bytes.begin() + (v4 ? 12 : 0), bytes.end());
  }
  append_number(body, source.port);
  append_number(body, destination.port);
  if (identity != nullptr) {
    const std::string name = identity->to_string();  // at most 2048 bytes: SPIFFE ID, 2.3
    body += static_cast<char>(kProxyIdentityTlv);
    append_number(body, static_cast<uint16_t>(name.size()));
    body += name;
  }
  std::string header(kSignature);
  header += kVersion2Proxy;
  header += v4 ? kTcpOverIp4 : kTcpOverIp6;
  append_number(header, static_cast<uint16_t>(body.size()));
  return header + body;
}

}  // namespace weft::node
