#include "agent/sandbox/netns.h"

#include "agent/sandbox/files.h"
#include "agent/sandbox/spawn.h"
#include "ztunnel/base/check.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>

namespace weft::sandbox {

namespace {

constexpr const char* kFolder = "/run/netns";

}  // namespace

Result<void> add_netns(const std::string& name) {
  TRY(run_tool({"ip", "netns", "add", name}));
  return {};
}

Result<Fd> open_netns(const std::string& name) {
  const std::string path = std::string(kFolder) + "/" + name;
  Fd netns(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!netns) return fail_errno(errno, "opening the network namespace " + name);
  return netns;
}

Result<void> delete_netns(const std::string& name) {
  const std::string path = std::string(kFolder) + "/" + name;
  if (::access(path.c_str(), F_OK) != 0) return {};
  // EINVAL: `ip netns add` was killed between making the file and mounting on it.
  if (::umount2(path.c_str(), MNT_DETACH) != 0 && errno != EINVAL) {
    return fail_errno(errno, "unmounting " + path);
  }
  if (::unlink(path.c_str()) != 0) return fail_errno(errno, "removing " + path);
  return {};
}

std::vector<std::string> list_netns(std::string_view prefix) {
  std::vector<std::string> names;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(kFolder, error)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with(prefix)) names.push_back(name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

Result<NetnsBracket> NetnsBracket::enter(int netns_fd) {
  Fd own(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
  if (!own) return fail_errno(errno, "opening our network namespace");
  if (::setns(netns_fd, CLONE_NEWNET) != 0) return fail_errno(errno, "joining a network namespace");
  return NetnsBracket(std::move(own));
}

NetnsBracket::~NetnsBracket() {
  if (own_) CHECK(::setns(own_.get(), CLONE_NEWNET) == 0);
}

Result<void> set_sysctls(int netns_fd, const Sysctls& values) {
  const NetnsBracket bracket = TRY(NetnsBracket::enter(netns_fd));
  for (const auto& [name, value] : values) {
    TRY(write_control_file("/proc/sys/net/" + name, value));
  }
  return {};
}

}  // namespace weft::sandbox
