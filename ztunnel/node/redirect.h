#pragma once

#include "ztunnel/base/ip.h"
#include "ztunnel/base/result.h"
#include "ztunnel/learn/view.h"

#include <cstdint>

namespace weft::node {

// Where an accepted connection of a pod wanted to go: its local address, or, of one that netfilter
// redirected (Pod::redirected), what it was before (SO_ORIGINAL_DST).
Result<SocketAddress> original_target(const learn::Pod& pod, int connection);

// Whether a port of a redirected pod is one of ours: whoever asks for it would be led in a circle.
bool is_own_port(const learn::Pod& pod, uint16_t port);

}  // namespace weft::node
