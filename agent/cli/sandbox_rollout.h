#pragma once

#include "agent/sandbox/layout.h"
#include "ztunnel/base/flags.h"

#include <vector>

namespace weft::cli {

// `weft sandbox rollout restart ztunnel [--node NODE]`: as `kubectl rollout restart` of a DaemonSet
// that surges: on one node after the other a new ztunnel starts, and the old one ends once the new
// one serves.
std::vector<Flag> rollout_flags(const Flag& name);
int run_rollout(const Flags& flags, const sandbox::Layout& layout);

}  // namespace weft::cli
