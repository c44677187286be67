#pragma once

#include <string>
#include <vector>

namespace weft::node {

// `weft-ztunnel node`: the node proxy, until SIGTERM or SIGINT. Returns the process's exit code;
// what is wrong with the command line or the machine is said in one line on standard error.
int run_node(const std::vector<std::string>& args);

}  // namespace weft::node
