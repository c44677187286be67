#pragma once

#include <string>
#include <vector>

namespace weft::waypoint {

// `weft-ztunnel waypoint`: the process's exit code.
int run_waypoint(const std::vector<std::string>& args);

}  // namespace weft::waypoint
