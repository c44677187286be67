#pragma once

#include "agent/cni/chain.h"
#include "ztunnel/base/fd.h"
#include "ztunnel/runtime/loop.h"
#include "ztunnel/runtime/sync.h"

#include <optional>
#include <string>
#include <vector>

namespace weft::cni {

struct InstallerConfig {
  std::string conf_dir;  // the runtime's folder of configurations (/etc/cni/net.d)
  std::string bin_dir;   // and of plugins (/opt/cni/bin)
  std::string program;   // the weft-cni to install: a file
  PluginEntry entry;
};

// Keeps weft-cni installed on the node: its program, then a configuration with it (chain.h), each
// written aside and renamed into place. What somebody changes or deletes is repaired when inotify
// tells of it. Runs while the agent's socket listens; when the agent ends, everything stays, so
// that pods wait for the next one: only remove() takes it away.
class Installer {
 public:
  Installer(runtime::Loop& loop, InstallerConfig config);
  ~Installer();  // run() must have ended

  runtime::Task<void> run();  // until stop()
  void stop();
  // Takes the configuration away, then the program: what this class has written and nothing else.
  Result<void> remove();

  // For the status: "installed in FILE", "waiting: ..", "failed: ..".
  const std::string& state() const { return state_; }

 private:
  void look();
  Result<std::string> install();
  Result<void> install_program();
  Result<void> drop_other_chained(const std::vector<std::string>& names, const std::string& keep);
  void watch_folders();
  void drain_events();
  void say(const std::string& state);

  // What of a file tells that it was replaced or written.
  struct Stamp {
    uint64_t inode = 0;
    uint32_t mode = 0;
    int64_t size = 0;
    int64_t changed_seconds = 0;
    int64_t changed_nanoseconds = 0;
    bool operator==(const Stamp&) const = default;
  };
  static std::optional<Stamp> stamp_of(const std::string& path);

  runtime::Loop& loop_;
  InstallerConfig config_;
  Fd inotify_;
  std::optional<Stamp> installed_program_;
  std::string state_;
  bool stopped_ = false;
};

}  // namespace weft::cni
