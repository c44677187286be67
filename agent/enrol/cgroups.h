#pragma once

#include "ztunnel/base/result.h"

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <string_view>

namespace weft::enrol {

// Where cgroup2 is mounted (the first such mount in /proc/mounts). kUnsupported with a line for the
// operator where it is not.
Result<std::string> find_cgroup2_mount();
// The same on the text of /proc/mounts; pure.
Result<std::string> cgroup2_mount_in(std::string_view mounts);

// A process's cgroup below the cgroup2 mount ("/kubepods/podX/ab"), as /proc/<pid>/cgroup says.
Result<std::string> cgroup_of(pid_t pid);
// The same on the text of /proc/<pid>/cgroup; pure.
Result<std::string> cgroup_in(std::string_view text);

// What bpf_get_current_cgroup_id() returns for tasks of the folder's cgroup: its inode number.
Result<uint64_t> cgroup_id(const std::string& folder);

}  // namespace weft::enrol
