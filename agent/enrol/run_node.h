#pragma once

#include <string>
#include <vector>

namespace weft::enrol {

// `weft-agent node`: enrols this node's pods until SIGTERM or SIGINT, which leave capture in place
// (a restart is an upgrade) unless --withdraw-on-exit was given. Returns the exit code.
int run_node(const std::vector<std::string>& args);

}  // namespace weft::enrol
