#include "agent/enrol/recover.h"

#include "agent/enrol/cgroups.h"
#include "agent/enrol/listeners.h"
#include "ztunnel/base/log.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <filesystem>
#include <optional>
#include <string>

namespace weft::enrol {
namespace {

namespace fs = std::filesystem;

// A name of /proc or of /proc/<pid>/fd as a number.
std::optional<int> as_number(const fs::path& name) {
  const std::string text = name.filename().string();
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::vector<int> numbers_in(const fs::path& folder) {
  std::vector<int> numbers;
  std::error_code error;
  fs::directory_iterator entry(folder, error);
  for (; !error && entry != fs::directory_iterator(); entry.increment(error)) {
    if (const std::optional<int> number = as_number(entry->path())) numbers.push_back(*number);
  }
  return numbers;
}

std::vector<pid_t> processes_of(const std::vector<uint64_t>& proxy_cgroups) {
  std::vector<pid_t> found;
  const Result<std::string> root = find_cgroup2_mount();
  if (!root) return found;
  for (const int pid : numbers_in("/proc")) {
    const Result<std::string> cgroup = cgroup_of(pid);
    if (!cgroup) continue;
    const Result<uint64_t> id = cgroup_id(*root + *cgroup);
    if (id && std::ranges::find(proxy_cgroups, *id) != proxy_cgroups.end()) found.push_back(pid);
  }
  return found;
}

void take_from(pid_t pid, const std::set<uint64_t>& cookies, std::map<uint64_t, Fd>& found) {
  const Fd process(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  if (!process) return;
  const fs::path folder = "/proc/" + std::to_string(pid) + "/fd";
  for (const int number : numbers_in(folder)) {
    std::error_code error;
    const std::string kind = fs::read_symlink(folder / std::to_string(number), error).string();
    if (!kind.starts_with("socket:")) continue;
    Fd socket(static_cast<int>(syscall(SYS_pidfd_getfd, process.get(), number, 0)));
    if (!socket) {
      if (errno != EPERM) continue;
      log::warn("enrol")
          .field("pid", pid)
          .say("cannot take listeners back from ztunnel (pidfd_getfd: CAP_SYS_PTRACE)");
      return;
    }
    const Result<uint64_t> cookie = socket_cookie(socket.get());
    if (cookie && cookies.contains(*cookie)) found.insert_or_assign(*cookie, std::move(socket));
    if (found.size() == cookies.size()) return;
  }
}

}  // namespace

std::map<uint64_t, Fd> recover_sockets(const std::set<uint64_t>& cookies,
                                       const std::vector<uint64_t>& proxy_cgroups) {
  std::map<uint64_t, Fd> found;
  if (cookies.empty()) return found;
  for (const pid_t pid : processes_of(proxy_cgroups)) {
    if (pid != getpid()) take_from(pid, cookies, found);
    if (found.size() == cookies.size()) break;
  }
  return found;
}

}  // namespace weft::enrol
