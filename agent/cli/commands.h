#pragma once

#include <string>
#include <vector>

namespace weft::cli {

using Args = std::vector<std::string>;

// Exit codes: what was asked for is done; it could not be done; it was not understood.
constexpr int kDone = 0;
constexpr int kFailed = 1;
constexpr int kMisused = 2;

// Each gets what stands behind its own name on the command line and returns the exit code.
int run_install(const Args& args);
int run_upgrade(const Args& args);
int run_uninstall(const Args& args);
int run_verify(const Args& args);
int run_version(const Args& args);
int run_chart(const Args& args);
int run_sandbox(const Args& args);
int run_status(const Args& args);
int run_analyze(const Args& args);
int run_ztunnel_config(const Args& args);
int run_precheck(const Args& args);
int run_explain(const Args& args);
int run_waypoint(const Args& args);

struct Command {
  std::string name;
  std::string summary;
  int (*run)(const Args& args) = nullptr;
  bool hidden = false;  // for our own use
};
// Runs the command that args[0] names; says what there is where it names none. `program`: "weft",
// "weft sandbox".
int dispatch(const std::string& program, const std::vector<Command>& commands, const Args& args);

// "error: .." on standard error.
int complain(const std::string& message, int code = kFailed);
// The known word that was probably meant; empty: none is close.
std::string closest(const std::string& word, const std::vector<std::string>& known);

}  // namespace weft::cli
