// weft-ztunnel: everything that carries. One binary, one role a process.

#include "ztunnel/node/run_node.h"
#include "ztunnel/waypoint/run_waypoint.h"

#include <cstdio>
#include <string>
#include <vector>

int main(int argc, char** argv) {
  const std::vector<std::string> args(argv + 1, argv + argc);
  if (!args.empty() && args.front() == "node") {
    return weft::node::run_node({args.begin() + 1, args.end()});
  }
  if (!args.empty() && args.front() == "waypoint") {
    return weft::waypoint::run_waypoint({args.begin() + 1, args.end()});
  }
  const bool help = !args.empty() && (args.front() == "--help" || args.front() == "help");
  std::fputs(
      "usage: weft-ztunnel <role> [flags]\n"
      "  node      the node proxy: carries the traffic of this node's enrolled pods\n"
      "  waypoint  stands before services: routes their requests and decides about them\n"
      "weft-ztunnel <role> --help lists the role's flags.\n",
      help ? stdout : stderr);
  return help ? 0 : 2;
}
