// weft-cni: called by the container runtime whenever a pod's network is made or goes.
#include "agent/cni/ask_agent.h"
#include "agent/cni/plugin.h"

#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <string>

namespace {

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

// At most one byte more than may come, so that too much is seen to be too much.
std::string read_stdin() {
  std::string text(weft::cni::kConfigBytesMax + 1, '\0');
  size_t length = 0;
  while (length < text.size()) {
    const ssize_t got = read(STDIN_FILENO, text.data() + length, text.size() - length);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    length += static_cast<size_t>(got);
  }
  text.resize(length);
  return text;
}

bool write_stdout(std::string_view text) {
  while (!text.empty()) {
    const ssize_t sent = write(STDOUT_FILENO, text.data(), text.size());
    if (sent < 0 && errno == EINTR) continue;
    if (sent <= 0) return false;
    text.remove_prefix(static_cast<size_t>(sent));
  }
  return true;
}

}  // namespace

int main() {
  const weft::cni::Call call{.command = environment("CNI_COMMAND"),
                             .container = environment("CNI_CONTAINERID"),
                             .netns = environment("CNI_NETNS"),
                             .interface = environment("CNI_IFNAME"),
                             .args = environment("CNI_ARGS"),
                             .config = read_stdin()};
  const weft::cni::Reply reply = weft::cni::run_plugin(call, weft::cni::ask_agent);
  return write_stdout(reply.text) ? reply.exit_code : 1;
}
