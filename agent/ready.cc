#include "agent/ready.h"

#include "agent/cli/admin_client.h"
#include "ztunnel/base/flags.h"

#include <cstdio>

namespace weft {
namespace {

constexpr std::chrono::seconds kReadyWithin{5};

const std::vector<Flag>& known_flags() {
  static const std::vector<Flag> known = {{.name = "admin-socket",
                                           .value = "PATH",
                                           .help = "of the control or node agent that is asked",
                                           .kind = Flag::Kind::kRequired}};
  return known;
}

int complain(const char* command, const Error& why) {
  std::fprintf(stderr, "%s: %s\n", command, why.to_string().c_str());
  return 1;
}

int help(const char* usage) {
  std::fputs(Flags::help_text(usage, known_flags()).c_str(), stdout);
  return 0;
}

}  // namespace

int run_ready(const std::vector<std::string>& args) {
  const auto flags = Flags::parse(args, known_flags());
  if (!flags) return complain("weft-agent ready", flags.error());
  if (flags->help()) return help("weft-agent ready");
  const auto answer = cli::ask(flags->get("admin-socket"), "/ready", kReadyWithin);
  return answer ? 0 : complain("weft-agent ready", answer.error());
}

int run_ask(const std::vector<std::string>& args) {
  const auto flags = Flags::parse(args, known_flags(), 1);
  if (!flags) return complain("weft-agent ask", flags.error());
  if (flags->help()) return help("weft-agent ask PATH");
  const std::string path = flags->positional().empty() ? "/status" : flags->positional()[0];
  const auto answer = cli::ask(flags->get("admin-socket"), path);
  if (!answer) return complain("weft-agent ask", answer.error());
  const bool written = std::fwrite(answer->data(), 1, answer->size(), stdout) == answer->size();
  return written && std::fflush(stdout) == 0 ? 0 : 1;
}

}  // namespace weft
