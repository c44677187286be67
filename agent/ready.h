#pragma once

#include <string>
#include <vector>

namespace weft {

// `weft-agent ready --admin-socket PATH`: asks a control or node agent on this machine for GET
// /ready. The exit code is what a readiness probe wants: 0, or 1 with the reason. Images without a
// shell or curl need it.
int run_ready(const std::vector<std::string>& args);

}  // namespace weft
