#pragma once

#include "agent/sandbox/layout.h"
#include "agent/sandbox/spawn.h"

#include <string>
#include <vector>

namespace weft::sandbox {

// What the containers of one pod share: network namespace, mount namespace with its own
// /etc/resolv.conf and /etc/hosts, and host name; held by a pause process in <pod
// cgroup>/sandbox.pause.
struct PodSpace {
  std::string netns;        // its name
  std::string cgroup;       // the pod's
  std::string resolv_conf;  // files outside, bound over the pod's own
  std::string hosts;
  std::string hostname;
  std::string secrets;  // a folder outside that the pod sees; empty: none
};

// Starts the pause process: `weft sandbox pause` with the namespaces made. The cgroup and the
// network namespace must be there.
Result<Child> start_pause(const PodSpace& space);

// The pause process of a pod that runs; kNotFound where there is none.
Result<pid_t> pause_of(const std::string& pod_cgroup);

// Moves this process into a pod's namespaces and leaves it the capabilities that a container
// runtime leaves. The cgroup is joined by the caller, before.
Result<void> enter_pod(pid_t pause);

// The program of the pause process: sleeps until it is killed.
[[noreturn]] void pause_forever();

// The names of cluster DNS for a namespace, and the pod's own name.
std::string resolv_conf_of(std::string_view ns, std::string_view dns_ip);
std::string hosts_of(const std::vector<std::string>& ips, std::string_view hostname);

}  // namespace weft::sandbox
