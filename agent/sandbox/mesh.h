#pragma once

#include "agent/sandbox/layout.h"
#include "ztunnel/runtime/loop.h"

#include <string>
#include <vector>

namespace weft::sandbox {

// One of Weft's own processes in the sandbox: control, or a node's agent or ztunnel. They are the
// real binaries, found beside this one.
struct ProcessSpec {
  std::string name;  // "control", "node-1-agent", "node-1-ztunnel"
  std::vector<std::string> argv;
  std::string cgroup;
  std::string netns;               // name
  std::vector<std::string> needs;  // files that must be there before it is started
};

// kNotFound: a binary is not beside this one.
Result<std::vector<ProcessSpec>> mesh_processes(const Layout& layout);

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

// What proves to control which node a ztunnel runs on: a signed token in nodes/<node>/token.
// make_tokens() makes the key pair, too.
Result<void> make_tokens(const Layout& layout);
Result<void> sign_tokens(const Layout& layout);
// Signs them again when half their life is over.
runtime::Task<void> renew_tokens(runtime::Loop& loop, const Layout& layout);

}  // namespace weft::sandbox
