#pragma once

#include "agent/objects/tree.h"

#include <string>
#include <vector>

namespace weft {

// `weft-agent retire`: the chart's step before it is uninstalled. Tells every node agent to give
// its node back (the DaemonSet gets --retire, and its pods are replaced all at once), and waits
// until all have. Exit code 1 where not all nodes answered in time: what they hold is then still
// there.
int run_retire(const std::vector<std::string>& args);

// The JSON patch that retires the node agents of a DaemonSet; empty: they are told already.
std::string retiring_patch(const objects::Tree& daemonset);

// How far its rollout is.
struct Rollout {
  int64_t wanted = 0;
  int64_t done = 0;      // pods of the newest template that are ready
  bool is_seen = false;  // the controller has looked at the newest template

  bool is_complete() const { return is_seen && done >= wanted; }
};
Rollout rollout_of(const objects::Tree& daemonset);

}  // namespace weft
