#include "agent/enrol/cgroups.h"

#include <sys/stat.h>

#include <cerrno>
#include <fstream>
#include <sstream>
#include <vector>

namespace weft::enrol {
namespace {

// Files of /proc are small; one that is not is no file of /proc.
constexpr size_t kFileBytesMax = 1024 * 1024;

Result<std::string> read_proc_file(const std::string& path) {
  std::ifstream file(path);
  if (!file) return fail_errno(errno, "opening " + path);
  std::string text(kFileBytesMax, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<size_t>(file.gcount()));
  return text;
}

// /proc/mounts writes space, tab, newline and backslash as three octal digits.
std::string unescape_mount(std::string_view text) {
  std::string plain;
  for (size_t at = 0; at < text.size(); ++at) {
    if (text[at] != '\\' || at + 3 >= text.size()) {
      plain += text[at];
      continue;
    }
    const auto digit = [&](size_t i) { return (text[at + i] - '0') & 7; };
    plain += static_cast<char>((digit(1) * 64 + digit(2) * 8 + digit(3)) & 0xff);
    at += 3;
  }
  return plain;
}

}  // namespace

Result<std::string> cgroup2_mount_in(std::string_view mounts) {
  std::istringstream lines{std::string(mounts)};
  std::string line;
  while (std::getline(lines, line)) {
    std::istringstream words(line);
    std::string device;
    std::string folder;
    std::string type;
    if (words >> device >> folder >> type && type == "cgroup2") return unescape_mount(folder);
  }
  return fail(Code::kUnsupported,
              "no cgroup2 is mounted: capture hooks connect(2) there; mount one (mount -t cgroup2 "
              "none DIR) or name it with --cgroup-root");
}

Result<std::string> find_cgroup2_mount() {
  const std::string mounts = TRY(read_proc_file("/proc/self/mounts"));
  return cgroup2_mount_in(mounts);
}

Result<std::string> cgroup_in(std::string_view text) {
  std::istringstream lines{std::string(text)};
  std::string line;
  while (std::getline(lines, line)) {
    if (!line.starts_with("0::/")) continue;
    std::string path = line.substr(3);
    if (path.starts_with("/..")) {
      return fail(Code::kUnsupported, "cgroup " + path +
                                          " lies outside this process's cgroup namespace: run the "
                                          "agent in the host's");
    }
    return path;
  }
  return fail(Code::kUnsupported, "no line 0::/... : the process is in no cgroup2");
}

Result<std::string> cgroup_of(pid_t pid) {
  const std::string path = "/proc/" + std::to_string(pid) + "/cgroup";
  const std::string text = TRY(read_proc_file(path));
  Result<std::string> cgroup = cgroup_in(text);
  if (!cgroup) return Fail(std::move(cgroup.error()).in(path));
  return cgroup;
}

Result<uint64_t> cgroup_id(const std::string& folder) {
  struct stat status{};
  if (stat(folder.c_str(), &status) != 0) return fail_errno(errno, "looking at cgroup " + folder);
  return static_cast<uint64_t>(status.st_ino);
}

}  // namespace weft::enrol
