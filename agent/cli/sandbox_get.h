#pragma once

#include "agent/sandbox/layout.h"
#include "ztunnel/base/flags.h"

#include <vector>

namespace weft::cli {

// `weft sandbox get [KIND [NAME]]`.
std::vector<Flag> get_flags(const Flag& name, const Flag& ns);
int run_get(const Flags& flags, const sandbox::Layout& layout);

}  // namespace weft::cli
