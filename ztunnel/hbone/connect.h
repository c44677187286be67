#pragma once

#include "ztunnel/base/ip.h"

#include <string>

namespace weft::hbone {

constexpr uint16_t kHbonePort = 15008;

// What a CONNECT says besides its bytes (reference: ztunnel 1.1, 1.2).
struct ConnectRequest {
  std::string authority;         // "ip:port", IPv6 in brackets, or "host:port"
  std::string baggage = {};      // who the source is, as labels; never believed for a decision
  std::string forwarded = {};    // RFC 7239: for="<src>";host=<service>
  std::string traceparent = {};  // W3C
};

}  // namespace weft::hbone
