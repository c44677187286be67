// The weft command: a table of commands, each a function of its own.

#include "agent/cli/commands.h"
#include "agent/compile/command.h"
#include "ztunnel/base/log.h"

#include <csignal>
#include <cstdio>
#include <iostream>

namespace weft::cli {

namespace {

int run_compile(const Args& args) { return compile::compile_command(args, std::cout, std::cerr); }

int run_version(const Args& args) {
  if (!args.empty()) return complain("weft version takes no arguments", kMisused);
  std::printf("weft %s\n", WEFT_VERSION);
  return kDone;
}

}  // namespace

int run(const Args& args) {
  // Whoever reads our output may leave early (`weft ... | head`).
  std::signal(SIGPIPE, SIG_DFL);
  log::set_level(log::Level::kWarn);
  return dispatch(
      "weft",
      {{"sandbox", "a cluster on this machine without Kubernetes: nodes, pods, services",
        run_sandbox},
       {"status", "how control and every node's agent are", run_status},
       {"ztunnel-config", "what each node's ztunnel knows of the mesh", run_ztunnel_config},
       {"compile", "print what manifests give each data plane", run_compile},
       {"analyze", "find mistakes in manifests, and what is not what it looks like", run_analyze},
       {"explain", "which route and which policies decide over a connection", run_explain},
       {"precheck", "what this machine's kernel offers, and what Weft does without", run_precheck},
       {"version", "print the version", run_version}},
      args);
}

}  // namespace weft::cli

int main(int argc, char** argv) { return weft::cli::run(weft::cli::Args(argv + 1, argv + argc)); }
