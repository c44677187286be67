#pragma once

#include "agent/sandbox/layout.h"
#include "agent/sandbox/planner.h"
#include "ztunnel/base/result.h"

#include <functional>
#include <string>
#include <vector>

namespace weft::sandbox {

struct Forward {
  uint16_t local = 0;   // on 127.0.0.1; 0: any free one
  uint16_t remote = 0;  // as it was asked for
  uint16_t target = 0;  // what it is in the pod
};
// "5001:80", ":80" or "80".
Result<Forward> parse_forward(const std::string& text);

// `kubectl port-forward`: listens on 127.0.0.1, and connects each connection to the pod's loopback
// (or else its address) from inside its network namespace, so past the mesh. Runs until the pod has
// ended, which is its error. `say` gets "Forwarding from 127.0.0.1:5001 -> 80" for each.
Error forward_ports(const Layout& layout, const PodPtr& pod, std::vector<Forward> forwards,
                    const std::function<void(const std::string&)>& say);

}  // namespace weft::sandbox
