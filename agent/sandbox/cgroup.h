#pragma once

#include "ztunnel/base/result.h"

#include <sys/types.h>

#include <chrono>
#include <string>
#include <vector>

namespace weft::sandbox {

// A cgroup2 folder by its path. Without controllers: only membership and cgroup.kill are used.
Result<void> make_cgroup(const std::string& path);
bool cgroup_exists(const std::string& path);
bool is_populated(const std::string& path);                // it or a child cgroup has a process
std::vector<pid_t> processes_in(const std::string& path);  // itself only, not its children
// Kills every process in it and below (cgroup.kill, Linux 5.14), waits until none is left, and
// removes it with its children. A path that is not there is no error; kTimeout where a process
// does not die.
Result<void> remove_cgroup(const std::string& path,
                           std::chrono::milliseconds limit = std::chrono::milliseconds(10'000));

}  // namespace weft::sandbox
