#include "agent/sandbox/pod_space.h"

#include "agent/sandbox/cgroup.h"
#include "agent/sandbox/files.h"
#include "agent/sandbox/gateways.h"
#include "agent/sandbox/netns.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>

namespace weft::sandbox {

namespace {

// Container names have no dot: none can be this one.
constexpr const char* kPauseCgroup = "/sandbox.pause";

// What container runtimes leave to a container by default. Without CAP_NET_ADMIN a pod can neither
// mark its packets nor change its routes, as in a cluster.
constexpr std::array kKeptCapabilities = {
    CAP_CHOWN,   CAP_DAC_OVERRIDE, CAP_FSETID,      CAP_FOWNER,          CAP_MKNOD,
    CAP_NET_RAW, CAP_SETGID,       CAP_SETUID,      CAP_SETFCAP,         CAP_SETPCAP,
    CAP_KILL,    CAP_SYS_CHROOT,   CAP_AUDIT_WRITE, CAP_NET_BIND_SERVICE};

bool is_kept(int capability) {
  for (const int kept : kKeptCapabilities) {
    if (kept == capability) return true;
  }
  return false;
}

// An execve(2) by root gains what the bounding set holds: dropping from it is enough.
Result<void> drop_capabilities() {
  for (int capability = 0; ::prctl(PR_CAPBSET_READ, capability) >= 0; ++capability) {
    if (is_kept(capability) || ::prctl(PR_CAPBSET_READ, capability) == 0) continue;
    if (::prctl(PR_CAPBSET_DROP, capability) != 0)
      return fail_errno(errno, "dropping capabilities");
  }
  return {};
}

Result<void> bind(const std::string& from, const char* over) {
  if (::mount(from.c_str(), over, nullptr, MS_BIND, nullptr) != 0) {
    return fail_errno(errno, "binding " + from + " over " + over);
  }
  return {};
}

Result<void> show_secrets(const Fd& mount) {
  if (::mkdir(kSecretsInPod, 0700) != 0) return fail_errno(errno, kSecretsInPod);
  if (::syscall(SYS_move_mount, mount.get(), "", AT_FDCWD, kSecretsInPod,
                MOVE_MOUNT_F_EMPTY_PATH) != 0) {
    return fail_errno(errno, std::string("mounting ") + kSecretsInPod);
  }
  return {};
}

// In the pause process. Mounts made here stay here; unmounts of the machine come in, so that no pod
// holds what `down` or the end of another pod unmounts.
Result<void> make_view(const PodSpace& space) {
  if (::unshare(CLONE_NEWNS | CLONE_NEWUTS) != 0) return fail_errno(errno, "unshare");
  if (::sethostname(space.hostname.c_str(), space.hostname.size()) != 0) {
    return fail_errno(errno, "sethostname");
  }
  if (::mount(nullptr, "/", nullptr, MS_REC | MS_SLAVE, nullptr) != 0) {
    return fail_errno(errno, "making the pod's mounts its own");
  }
  TRY(bind(space.resolv_conf, "/etc/resolv.conf"));
  TRY(bind(space.hosts, "/etc/hosts"));
  Fd secrets;  // a mount of its own, taken before what it is of disappears
  if (!space.secrets.empty()) {
    secrets = Fd(static_cast<int>(::syscall(SYS_open_tree, AT_FDCWD, space.secrets.c_str(),
                                            OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC)));
    if (!secrets) return fail_errno(errno, "opening " + space.secrets);
  }
  // The sandbox's keys, sockets and namespaces are none of a pod's business.
  ::umount2("/run/netns", MNT_DETACH);
  for (const std::string& mount : mounts_below("/run/weft")) ::umount2(mount.c_str(), MNT_DETACH);
  constexpr unsigned long kHiding = MS_NOSUID | MS_NODEV | MS_NOEXEC;
  if (::mount("tmpfs", "/run/weft", "tmpfs", kHiding, "size=4k") != 0) {
    return fail_errno(errno, "hiding /run/weft");
  }
  if (secrets) TRY(show_secrets(secrets));
  if (::mount(nullptr, "/run/weft", nullptr, MS_REMOUNT | kHiding | MS_RDONLY, "size=4k") != 0) {
    return fail_errno(errno, "hiding /run/weft");
  }
  // /sys shows the network namespace in which it was mounted, and brings the cgroups with it.
  ::umount2("/sys", MNT_DETACH);
  if (::mount("sysfs", "/sys", "sysfs", MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, nullptr) !=
      0) {
    return fail_errno(errno, "mounting /sys");
  }
  return {};
}

}  // namespace

Result<Child> start_pause(const PodSpace& space) {
  const std::string cgroup = space.cgroup + kPauseCgroup;
  TRY(make_cgroup(cgroup));
  const Fd netns = TRY(open_netns(space.netns));
  SpawnOptions how;
  how.argv = {"/proc/self/exe", "sandbox", "pause"};
  how.env = std::vector<std::string>{};
  how.cgroup = cgroup;
  how.netns_fd = netns.get();
  how.prepare = [&space]() -> Result<void> { return make_view(space); };
  return spawn(how);
}

Result<pid_t> pause_of(const std::string& pod_cgroup) {
  const std::vector<pid_t> pids = processes_in(pod_cgroup + kPauseCgroup);
  if (pids.empty()) return fail(Code::kNotFound, "the pod does not run");
  return pids.front();
}

Result<void> enter_pod(pid_t pause) {
  const Fd space(static_cast<int>(::syscall(SYS_pidfd_open, pause, 0)));
  if (!space) return fail_errno(errno, "the pod has ended");
  if (::setns(space.get(), CLONE_NEWNET | CLONE_NEWNS | CLONE_NEWUTS) != 0) {
    return fail_errno(errno, "joining the pod's namespaces (Linux 5.8 or newer is needed)");
  }
  return drop_capabilities();
}

void pause_forever() {
  ::prctl(PR_SET_NAME, "pause");
  // The first process of a pod holds its namespaces against everything but SIGKILL.
  ::signal(SIGTERM, SIG_IGN);
  ::signal(SIGINT, SIG_IGN);
  ::signal(SIGHUP, SIG_IGN);
  while (true) ::pause();
}

std::string resolv_conf_of(std::string_view ns, std::string_view dns_ip) {
  const std::string domain(kClusterDomain);
  return "search " + std::string(ns) + ".svc." + domain + " svc." + domain + " " + domain +
         "\nnameserver " + std::string(dns_ip) + "\noptions ndots:5\n";
}

std::string hosts_of(const std::vector<std::string>& ips, std::string_view hostname) {
  std::string hosts = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n";
  for (const std::string& ip : ips) hosts += ip + "\t" + std::string(hostname) + "\n";
  return hosts;
}

}  // namespace weft::sandbox
