#include "agent/sandbox/cgroup.h"

#include "agent/sandbox/files.h"

#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <sstream>
#include <thread>

namespace weft::sandbox {

namespace fs = std::filesystem;

Result<void> make_cgroup(const std::string& path) {
  std::error_code error;
  fs::create_directories(path, error);
  if (error) return fail_errno(error.value(), "making the cgroup " + path);
  return {};
}

bool cgroup_exists(const std::string& path) {
  return ::access((path + "/cgroup.procs").c_str(), F_OK) == 0;
}

bool is_populated(const std::string& path) {
  const auto events = read_file(path + "/cgroup.events");
  return events && events->find("populated 1") != std::string::npos;
}

std::vector<pid_t> processes_in(const std::string& path) {
  std::vector<pid_t> pids;
  const auto text = read_file(path + "/cgroup.procs");
  if (!text) return pids;
  std::istringstream lines(*text);
  pid_t pid = 0;
  while (lines >> pid) pids.push_back(pid);
  return pids;
}

namespace {

Result<void> remove_folders(const fs::path& path) {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(path, error)) {
    if (entry.is_directory(error)) TRY(remove_folders(entry.path()));
  }
  if (::rmdir(path.c_str()) != 0 && errno != ENOENT) {
    return fail_errno(errno, "removing the cgroup " + path.string());
  }
  return {};
}

}  // namespace

Result<void> remove_cgroup(const std::string& path, std::chrono::milliseconds limit) {
  if (!cgroup_exists(path)) return {};
  const auto end = std::chrono::steady_clock::now() + limit;
  while (true) {
    if (auto killed = write_control_file(path + "/cgroup.kill", "1"); !killed) {
      return Fail(std::move(killed).error().in("cgroup.kill is needed (Linux 5.14 or newer)"));
    }
    // The kernel takes a moment to let go of the dead.
    for (int turn = 0; turn < 100 && is_populated(path); ++turn) {
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
    auto removed = is_populated(path) ? fail(Code::kTimeout, "processes in " + path + " do not die")
                                      : remove_folders(path);
    if (removed || std::chrono::steady_clock::now() >= end) return removed;
  }
}

}  // namespace weft::sandbox
