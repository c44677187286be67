// The weft command: a table of commands, each a function of its own.

#include "agent/cli/commands.h"
#include "agent/compile/command.h"
#include "ztunnel/base/log.h"

#include <csignal>
#include <iostream>

namespace weft::cli {

namespace {

int run_compile(const Args& args) { return compile::compile_command(args, std::cout, std::cerr); }

}  // namespace

int run(const Args& args) {
  // Whoever reads our output may leave early (`weft ... | head`).
  std::signal(SIGPIPE, SIG_DFL);
  log::set_level(log::Level::kWarn);
  return dispatch(
      "weft",
      {{"install", "put Weft on a Kubernetes cluster (helm does the work)", run_install},
       {"upgrade", "bring what is installed to this program's version", run_upgrade},
       {"uninstall", "take Weft off a cluster, and off its nodes", run_uninstall},
       {"verify", "whether all of Weft on a cluster runs", run_verify},
       {"chart", "write the Helm chart to standard output", run_chart},
       {"sandbox", "a cluster on this machine without Kubernetes: nodes, pods, services",
        run_sandbox},
       {"status", "how control and every node's agent are", run_status},
       {"ztunnel-config", "what each node's ztunnel knows of the mesh", run_ztunnel_config},
       {"waypoint", "make, list and take away waypoints", run_waypoint},
       {"compile", "print what manifests give each data plane", run_compile},
       {"analyze", "find mistakes in manifests, and what is not what it looks like", run_analyze},
       {"explain", "which route and which policies decide over a connection", run_explain},
       {"precheck", "what this machine's kernel offers, and what Weft does without", run_precheck},
       {"version", "the version of this program, and what a cluster runs", run_version}},
      args);
}

}  // namespace weft::cli

int main(int argc, char** argv) { return weft::cli::run(weft::cli::Args(argv + 1, argv + argc)); }
