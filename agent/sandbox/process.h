#pragma once

#include "agent/sandbox/layout.h"
#include "ztunnel/runtime/loop.h"

#include <sys/types.h>

#include <string>
#include <vector>

namespace weft::sandbox {

// A process that the supervisor keeps.
struct ProcessSpec {
  std::string name;  // "control", "node-1-kubelet", "node-1-agent", "node-1-ztunnel"
  std::vector<std::string> argv;
  std::string cgroup;
  std::string netns;               // name
  std::vector<std::string> needs;  // files that must be there before it is started
  // What one that takes over from a running one is told besides; empty: it cannot, there is one at
  // a time.
  std::vector<std::string> successor_flags;
};

// Starts the process and again whenever it ends, with a back-off from 200 ms; runs as long as the
// loop. What it is doing stands in processes/<name>, one line: "running", "waiting for FILE" or
// "ended: REASON", with how often it was restarted.
runtime::Task<void> keep_running(runtime::Loop& loop, const Layout& layout, ProcessSpec spec);

struct ProcessState {
  std::string state;  // as above
  int restarts = 0;
  pid_t pid = 0;
};
Result<void> write_process_state(const Layout& layout, const std::string& name,
                                 const ProcessState& state);
Result<ProcessState> read_process_state(const Layout& layout, const std::string& name);

// Replaces a running process by a new one: the supervisor starts the new one, waits until it says
// that it is ready (sd_notify(3)), and only then ends the old one by SIGTERM, which may drain.
// Returns when that signal is sent, with a line for people. kRefused: this process cannot, or
// another replacement is under way. kUnavailable: the new one did not become ready; the old one
// serves on.
Result<std::string> replace_running(const Layout& layout, const std::string& name);

}  // namespace weft::sandbox
