#pragma once

#include <string_view>

namespace weft::role {

// Tells whoever started us about our state, as sd_notify(3) does: one datagram such as "READY=1" to
// the unix socket that $NOTIFY_SOCKET names ('@' first: an abstract one). Nothing happens where the
// variable is not set or nobody listens.
void notify_service_manager(std::string_view state);

}  // namespace weft::role
