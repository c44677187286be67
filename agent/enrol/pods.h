#pragma once

#include "ztunnel/base/fd.h"
#include "ztunnel/base/result.h"

#include <sys/types.h>

#include <string>
#include <string_view>
#include <vector>

namespace weft::enrol {

// Whether a cgroup folder's name says that it is the pod's: cgroupfs writes "pod<uid>", systemd
// "kubepods-burstable-pod<uid>.slice" with '_' in place of '-'.
bool names_pod(std::string_view folder_name, std::string_view uid);

// The pod's cgroup folder below `pod_cgroups`; kNotFound where there is none (yet).
Result<std::string> find_pod_cgroup(const std::string& pod_cgroups, const std::string& uid);

// Processes in a cgroup and in the cgroups below it.
Result<std::vector<pid_t>> processes_in(const std::string& cgroup);

// The network namespace of the pod's processes. One that is still in this process's own namespace
// (a runtime that has not entered the pod's yet) does not count. kNotFound where none is there yet.
Result<Fd> find_pod_netns(const std::string& pod_cgroups, const std::string& uid);

}  // namespace weft::enrol
