#pragma once

#include "ztunnel/base/result.h"

#include <string>
#include <string_view>

namespace weft::identity {

// RFC 4648, section 5, without padding, as RFC 7515 wants it.
std::string encode_base64url(std::string_view bytes);
// kInvalid for anything that encode_base64url would not have written: padding, white space, the
// other alphabet, bits behind the last byte.
Result<std::string> decode_base64url(std::string_view text);

}  // namespace weft::identity
