#pragma once

#include "agent/sandbox/layout.h"
#include "ztunnel/base/result.h"

namespace weft::sandbox {

// The daemon behind a sandbox that is up: scheduler and controllers, one kubelet a pod, service
// addresses and DNS of every node, and the keeper of control, agents and ztunnels. It decides from
// the objects folder alone; commands talk to it by changing objects.
struct SupervisorOptions {
  bool mesh = true;  // false: pods and services only, nothing of Weft's own runs
};
// Runs until it is killed; returns only on an error at the start. The fabric, the folders and the
// keys must be there.
Result<void> supervise(const Layout& layout, const SupervisorOptions& options);

// Readable once all of a supervisor's parts run.
std::string supervisor_ready_file(const Layout& layout);

}  // namespace weft::sandbox
