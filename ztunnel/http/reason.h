#pragma once

#include <string_view>

namespace weft::http {

// What stands behind a status in HTTP/1.1 (RFC 9110, 15); "Status" for one that is not registered.
std::string_view reason_of(int status);

}  // namespace weft::http
