#pragma once

#include "agent/sandbox/layout.h"
#include "agent/sandbox/planner.h"
#include "agent/sandbox/store.h"
#include "ztunnel/base/result.h"

#include <cstdint>
#include <string>
#include <vector>

namespace weft::sandbox {

// What commands do to running pods, each for one pod found by name.

// The pod that "NAME", "pod/NAME", "deploy/NAME" or "svc/NAME" means; of several, the first that is
// ready. kNotFound otherwise.
Result<PodPtr> find_pod(const Store& store, const std::string& what, const std::string& ns);
// The container's name: the one wanted, or the pod's first. kNotFound: it has none of this name.
Result<std::string> find_container(const crd::core::Pod& pod, const std::string& wanted);

// `kubectl exec`: this process becomes the command, in the container's cgroup, namespaces and
// environment; so standard input, signals and exit code are its own. Returns only on an error;
// kNotFound where there is no such program.
Error exec_in_pod(const Layout& layout, const crd::core::Pod& pod, const std::string& container,
                  const std::vector<std::string>& argv, bool keep_stdin);

// The file that `logs` shows, for a container or "node/<node>/agent", "node/<node>/ztunnel",
// "control", "supervisor".
Result<std::string> process_log_of(const Layout& layout, const std::string& what);
// Prints a log to standard output; `follow`: until `has_ended` says so.
struct LogOptions {
  bool follow = false;
  int64_t tail = -1;  // lines; -1: all
};
Result<void> print_log(const std::string& path, const LogOptions& options,
                       const std::function<bool()>& has_ended);

}  // namespace weft::sandbox
