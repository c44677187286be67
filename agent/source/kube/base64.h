#pragma once

#include "ztunnel/base/result.h"

#include <string>
#include <string_view>

namespace weft::source::kube {

// RFC 4648 section 4, white space between passed over, as YAML's folded texts have it.
Result<std::string> decode_base64(std::string_view text);

}  // namespace weft::source::kube
