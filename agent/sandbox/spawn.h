#pragma once

#include "ztunnel/base/fd.h"
#include "ztunnel/base/result.h"

#include <sys/types.h>

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace weft::sandbox {

// How a process is started. All programs are executed with an argument vector, never by a shell.
struct SpawnOptions {
  std::vector<std::string> argv;
  std::optional<std::vector<std::string>> env;  // "NAME=value"; absent: ours
  std::string cwd = "/";
  std::string cgroup;   // folder in cgroup2 to join first; empty: ours
  int netns_fd = -1;    // joined before the program starts; -1: ours
  int stdin_fd = -1;    // -1: /dev/null
  int stdout_fd = -1;   // -1: /dev/null
  int stderr_fd = -1;   // -1: as stdout
  bool session = true;  // setsid(2): signals of our terminal do not reach it
  // Runs in the child behind all of the above, before the program starts.
  std::function<Result<void>()> prepare;
};

struct Child {
  pid_t pid = -1;
  Fd pidfd;  // readable when the process has ended
};

// Forks and executes. What goes wrong in the child up to and including execve(2) is the error
// returned; the child is then gone. For single-threaded processes.
Result<Child> spawn(const SpawnOptions& options);

struct Exit {
  int status = 0;  // as waitpid(2) gives it
  bool ok() const { return status == 0; }
  std::string to_string() const;  // "exit status 1", "killed by signal 9 (Killed)"
  int code() const;               // as a shell would say it: 128 + signal
};
// Reaps a child that has ended, or waits for it.
Exit reap(const Child& child);
// False where it still runs when the time is over.
bool wait_until_ended(const Child& child, std::chrono::milliseconds limit);

// Executes a system tool (ip, nft) to its end and returns what it printed. A failure says what was
// run and the tool's own first words.
struct ToolOptions {
  int netns_fd = -1;
  std::string input;
};
Result<std::string> run_tool(const std::vector<std::string>& argv, const ToolOptions& options = {});

// The two halves of run_tool(), for several tools at once. Each that was started is to be finished.
struct Tool {
  std::vector<std::string> argv;
  Child child;
  Fd output;
  Fd errors;
};
Result<Tool> start_tool(const std::vector<std::string>& argv, const ToolOptions& options = {});
Result<std::string> finish_tool(const Tool& tool);

// Executes a program in place of this process, found in PATH of `env`. Returns only on an error.
Error replace_process(const std::vector<std::string>& argv,
                      const std::optional<std::vector<std::string>>& env);

}  // namespace weft::sandbox
