#include "agent/cli/sandbox_rollout.h"

#include "agent/cli/commands.h"
#include "agent/sandbox/process.h"

#include <algorithm>
#include <cstdio>

namespace weft::cli {

std::vector<Flag> rollout_flags(const Flag& name) {
  return {name, {.name = "node", .value = "NODE", .help = "only there; not given: every node"}};
}

int run_rollout(const Flags& flags, const sandbox::Layout& layout) {
  const std::vector<std::string>& words = flags.positional();
  std::string what = words.size() == 2 && words[0] == "restart" ? words[1] : "";
  if (const size_t slash = what.find('/'); slash != std::string::npos) what.erase(0, slash + 1);
  if (what != "ztunnel") return complain("rollout: expected restart ztunnel", kMisused);
  std::vector<std::string> nodes = layout.nodes();
  if (const std::string& node = flags.get("node"); !node.empty()) {
    if (std::ranges::find(nodes, node) == nodes.end()) {
      return complain("rollout: there is no node \"" + node + "\"");
    }
    nodes = {node};
  }
  for (const std::string& node : nodes) {
    const auto replaced = sandbox::replace_running(layout, node + "-ztunnel");
    if (!replaced) return complain(node + ": " + replaced.error().to_string());
    std::printf("%s\n", replaced->c_str());
    std::fflush(stdout);
  }
  return kDone;
}

}  // namespace weft::cli
