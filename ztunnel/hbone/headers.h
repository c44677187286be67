#pragma once

#include "ztunnel/base/ip.h"
#include "ztunnel/base/result.h"
#include "ztunnel/hbone/connect.h"
#include "ztunnel/http/header.h"

#include <optional>
#include <string>
#include <string_view>
#include <vector>

// What a CONNECT carries, as header fields and back (reference: ztunnel.md 1.1).

namespace weft::hbone {

// Of baggage, forwarded and traceparent each. Longer ones are left out: they are labels, and ours
// are a tenth of it.
constexpr size_t kLabelBytesMax = 4096;

// Whether a CONNECT's :authority is "ip:port", "[ipv6]:port" or "host:port" with a port from 1 to
// 65535 (RFC 9110, 9.3.6; RFC 3986, 3.2). What looks like an IPv4 address must be one. kInvalid
// says what is wrong.
Result<void> check_authority(std::string_view authority);

// "00-<32 hex>-<16 hex>-<2 hex>" in lower case, neither id all zeros (W3C Trace Context, 3.2).
bool is_traceparent(std::string_view text);

// The value of host= in the first element of a Forwarded field (RFC 7239), unquoted. Empty where
// there is none, or where it is no host name.
std::string_view forwarded_host(std::string_view forwarded);
// The value of for= likewise, where it is an address with a port ("10.0.0.1:5", "[fd00::1]:5"): who
// the peer says that its client is, which proves nothing.
std::optional<SocketAddress> forwarded_for(std::string_view forwarded);

// :method and :authority, and of the others those that are not empty. Nothing else: no :scheme, no
// :path (RFC 9113, 8.5).
std::vector<http::Header> to_headers(const ConnectRequest& request);

// kInvalid: not a CONNECT, or its :authority is malformed. Labels that are malformed or too long
// come out empty: a peer's labels decide nothing.
Result<ConnectRequest> from_headers(const std::vector<http::Header>& headers);

// Of a response: 100 to 599, or 0.
int status_of(const std::vector<http::Header>& headers);

}  // namespace weft::hbone
