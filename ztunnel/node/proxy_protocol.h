#pragma once

#include "ztunnel/base/ip.h"
#include "ztunnel/base/spiffe_id.h"

#include <string>

namespace weft::node {

// What a TLV of type 0xD0 says: who the source proved to be (reference: ztunnel.md 1.15).
constexpr uint8_t kProxyIdentityTlv = 0xD0;

// A PROXY protocol header, version 2 (haproxy's proxy-protocol.txt, 2.2): a TCP connection from
// `source` to `destination`, and the source's identity where there is one. Addresses of two
// families are both written as IPv6.
std::string proxy_header(const SocketAddress& source, const SocketAddress& destination,
                         const SpiffeId* identity);

}  // namespace weft::node
