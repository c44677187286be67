#pragma once

#include "ztunnel/base/result.h"

#include <string_view>

namespace weft::hbone {

// Whether a CONNECT's :authority is "ip:port", "[ipv6]:port" or "host:port" with a port from 1 to
// 65535 (RFC 9110, 9.3.6; RFC 3986, 3.2). kInvalid says what is wrong.
Result<void> check_authority(std::string_view authority);

}  // namespace weft::hbone
