#pragma once

#include "agent/sandbox/layout.h"
#include "ztunnel/base/fd.h"
#include "ztunnel/base/result.h"

#include <functional>
#include <string>
#include <vector>

namespace weft::sandbox {

struct UpOptions {
  int nodes = 2;
  bool mesh = true;
  Families families = default_families();
  bool keep_failed = false;  // do not clean up after an error, for a look at the logs
  std::string manifests;     // file or folder; empty: none
  // More flags for every ztunnel, as name=value.
  std::vector<std::string> ztunnel_flags;
  std::vector<std::string> control_flags;  // and for control
};

// One line for the person who waits.
using Progress = std::function<void(const std::string& line)>;

// Makes a sandbox and starts its supervisor; returns when control, agents and ztunnels answer and
// the manifests are applied. What a killed sandbox of this name left behind is removed first. On an
// error nothing is left behind. kRefused: no root, or it is up already.
Result<void> bring_up(const Layout& layout, const UpOptions& options, const Progress& progress);

// Removes everything of the sandbox, whatever state it is in: processes, namespaces, mounts, pinned
// maps, cgroups, files. Returns false where there was nothing.
Result<bool> take_down(const Layout& layout);

// kRefused without root; a sandbox needs it for namespaces, cgroups and BPF.
Result<void> need_root();
// kUnavailable where no supervisor of this name runs, saying which command helps.
Result<void> need_up(const Layout& layout);
// The supervisor's lock: held for as long as it lives.
bool is_up(const Layout& layout);

// `weft sandbox supervise`: what bring_up() starts.
Result<void> run_supervisor(const Layout& layout, bool mesh);

// The folders below the run directory's parent: every sandbox that is there, up or killed.
std::vector<std::string> sandbox_names();

}  // namespace weft::sandbox
