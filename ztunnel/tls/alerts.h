#pragma once

#include "ztunnel/base/result.h"

#include <string>

namespace weft::tls {

// "(alert: bad certificate)", by the number that RFC 8446, 6 gives it.
std::string words_of_alert(int alert);

// What a fatal alert of the peer means behind the handshake. In TLS 1.3 a server judges the
// client's certificate after the client's handshake is done: kRefused; otherwise kReset.
Error error_of_alert(int alert);

}  // namespace weft::tls
