#pragma once

#include <string>
#include <vector>

namespace weft {

// What a control or node agent on this machine answers on its admin socket. Images without a shell
// or curl need these.

// `weft-agent ready --admin-socket PATH`: GET /ready. The exit code is what a readiness probe
// wants: 0, or 1 with the reason.
int run_ready(const std::vector<std::string>& args);
// `weft-agent ask --admin-socket PATH /status`: prints the answer; 1 with the reason without one.
int run_ask(const std::vector<std::string>& args);

}  // namespace weft
