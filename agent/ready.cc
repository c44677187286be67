#include "agent/ready.h"

#include "ztunnel/base/flags.h"
#include "ztunnel/http/http1_server.h"
#include "ztunnel/runtime/socket.h"

#include <cstdio>

namespace weft {
namespace {

constexpr std::chrono::seconds kPatience{5};

runtime::Task<void> ask(runtime::Loop& loop, std::string path, std::string& why) {
  auto stream = co_await runtime::dial_unix(loop, path);
  if (!stream) {
    why = stream.error().to_string();
  } else {
    const auto answer = co_await http::fetch_http1(loop, std::move(*stream), "GET", "/ready", "");
    why = !answer ? answer.error().to_string() : answer->status == 200 ? "" : answer->body;
  }
  loop.stop();
}

}  // namespace

int run_ready(const std::vector<std::string>& args) {
  const std::vector<Flag> known = {{.name = "admin-socket",
                                    .value = "PATH",
                                    .help = "of the control or node agent that is asked",
                                    .kind = Flag::Kind::kRequired}};
  const auto flags = Flags::parse(args, known);
  if (flags && flags->help()) {
    std::fputs(Flags::help_text("weft-agent ready", known).c_str(), stdout);
    return 0;
  }
  std::string why = flags ? "it did not answer" : flags.error().to_string();
  const auto loop = runtime::Loop::create(runtime::Backend::kEpoll);
  if (flags && loop) {
    (*loop)->spawn(ask(**loop, flags->get("admin-socket"), why));
    (*loop)->schedule(kPatience, [&loop] { (*loop)->stop(); });
    (*loop)->run();
  }
  if (why.empty()) return 0;
  std::fprintf(stderr, "weft-agent ready: %s\n", why.c_str());
  return 1;
}

}  // namespace weft
