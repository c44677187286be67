// weft-agent: everything that decides, in two roles.
#ifdef WEFT_WITH_CONTROL
#include "agent/control/control.h"
#endif
#ifdef WEFT_WITH_NODE
#include "agent/enrol/run_node.h"
#endif
#include "agent/ready.h"
#include "agent/retire.h"

#include <cstdio>
#include <functional>
#include <map>
#include <string>
#include <vector>

int main(int argc, char** argv) {
  const std::map<std::string, std::function<int(const std::vector<std::string>&)>> roles = {
#ifdef WEFT_WITH_CONTROL
      {"control", weft::control::run_control},
#endif
#ifdef WEFT_WITH_NODE
      {"node", weft::enrol::run_node},
#endif
      {"ask", weft::run_ask},
      {"ready", weft::run_ready},
      {"retire", weft::run_retire},
  };
  const std::vector<std::string> args(argv + (argc > 0 ? 1 : 0), argv + argc);
  const auto role = args.empty() ? roles.end() : roles.find(args.front());
  if (role == roles.end()) {
    std::string known;
    for (const auto& [name, run] : roles) known += (known.empty() ? "" : "|") + name;
    std::fprintf(stderr, "usage: weft-agent %s --help\n", known.c_str());
    return 1;
  }
  return role->second({args.begin() + 1, args.end()});
}
