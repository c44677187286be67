#include "agent/enrol/pods.h"

#include "agent/enrol/netns.h"

#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <fstream>

namespace weft::enrol {
namespace {

namespace fs = std::filesystem;

// kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod<uid>.slice is three below the
// root.
constexpr int kPodDepthMax = 4;
// Containers, and what a container's own init makes below its cgroup.
constexpr int kContainerDepthMax = 4;
constexpr size_t kUidBytesMax = 128;    // Kubernetes' own are 36
constexpr size_t kProcessesMax = 4096;  // one is enough; a fork bomb in a pod is not ours to list

bool is_uid_character(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '-' || c == '_';
}

// A uid comes from outside and is only compared, but an empty or odd one could match too much.
Result<void> check_uid(std::string_view uid) {
  if (!uid.empty() && uid.size() <= kUidBytesMax && std::ranges::all_of(uid, is_uid_character)) {
    return {};
  }
  return fail(Code::kInvalid, "metadata.uid: expected letters, digits and '-'");
}

bool names_exactly(std::string_view folder_name, std::string_view marker) {
  const size_t at = folder_name.find(marker);
  if (at == std::string_view::npos) return false;
  const bool starts = at == 0 || folder_name[at - 1] == '-';
  const std::string_view behind = folder_name.substr(at + marker.size());
  return starts && (behind.empty() || !is_uid_character(behind.front()));
}

template <class Visit>  // bool(const fs::directory_entry&): go below it
void walk(const fs::path& root, int depth_max, Visit visit) {
  std::error_code error;
  fs::recursive_directory_iterator entry(root, fs::directory_options::skip_permission_denied,
                                         error);
  // A cgroup that goes while it is read ends the walk; whoever asked asks again.
  for (; !error && entry != fs::recursive_directory_iterator(); entry.increment(error)) {
    std::error_code gone;
    if (!entry->is_directory(gone) || gone) continue;
    if (!visit(*entry) || entry.depth() + 1 >= depth_max) entry.disable_recursion_pending();
  }
}

void read_processes(const fs::path& cgroup, std::vector<pid_t>& found) {
  std::ifstream file(cgroup / "cgroup.procs");
  pid_t pid = 0;
  while (found.size() < kProcessesMax && file >> pid) {
    if (pid > 0) found.push_back(pid);  // 0: outside this process's pid namespace
  }
}

}  // namespace

bool names_pod(std::string_view folder_name, std::string_view uid) {
  std::string marker = "pod" + std::string(uid);
  if (names_exactly(folder_name, marker)) return true;
  std::ranges::replace(marker, '-', '_');
  return names_exactly(folder_name, marker);
}

Result<std::string> find_pod_cgroup(const std::string& pod_cgroups, const std::string& uid) {
  TRY(check_uid(uid));
  std::string found;
  walk(pod_cgroups, kPodDepthMax, [&](const fs::directory_entry& entry) {
    const std::string name = entry.path().filename().string();
    if (found.empty() && names_pod(name, uid)) found = entry.path().string();
    return found.empty();
  });
  if (found.empty()) {
    return fail(Code::kNotFound, "no cgroup of pod " + uid + " below " + pod_cgroups);
  }
  return found;
}

Result<std::vector<pid_t>> processes_in(const std::string& cgroup) {
  std::vector<pid_t> found;
  read_processes(cgroup, found);
  walk(cgroup, kContainerDepthMax, [&](const fs::directory_entry& entry) {
    read_processes(entry.path(), found);
    return found.size() < kProcessesMax;
  });
  return found;
}

Result<Fd> find_pod_netns(const std::string& pod_cgroups, const std::string& uid) {
  const std::string cgroup = TRY(find_pod_cgroup(pod_cgroups, uid));
  const std::vector<pid_t> processes = TRY(processes_in(cgroup));
  const Fd own = TRY(open_netns_of(getpid()));
  for (const pid_t pid : processes) {
    Result<Fd> netns = open_netns_of(pid);  // a process that has just ended has none
    if (netns && !is_same_netns(netns->get(), own.get())) return std::move(*netns);
  }
  return fail(Code::kNotFound,
              "no process of pod " + uid + " is in a network namespace of its own yet");
}

}  // namespace weft::enrol
