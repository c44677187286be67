#include "agent/enrol/kubelet.h"

#include "agent/enrol/cgroups.h"
#include "agent/enrol/netns.h"
#include "agent/enrol/pods.h"
#include "ztunnel/base/log.h"

#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

namespace weft::enrol {
namespace {

// A kubelet that has been started again probes after some seconds, so this is soon enough; one
// stat(2) each time costs nothing.
constexpr std::chrono::milliseconds kLookPeriod{500};

}  // namespace

Result<uint64_t> node_netns_cookie(const std::string& kubelet_cgroup) {
  if (!kubelet_cgroup.empty() && kubelet_cgroup != kFindKubelet) {
    const std::vector<pid_t> processes = TRY(processes_in(kubelet_cgroup));
    for (const pid_t pid : processes) {
      const Result<Fd> netns = open_netns_of(pid);  // one that has just ended has none
      if (netns) return netns_cookie(netns->get());
    }
  }
  const Fd own = TRY(open_netns_of(getpid()));
  return netns_cookie(own.get());
}

runtime::Task<void> KubeletProbes::run() {
  if (cgroup_.empty() && !finds_) {
    const Result<void> forgotten = capture_.forget_kubelet();
    say(forgotten ? "off" : forgotten.error().to_string());
    co_return;
  }
  while (!stopped_) {
    look();
    const runtime::TimerId timer = loop_.schedule(kLookPeriod, [this] { woken_.wake(); });
    co_await woken_.wait();
    loop_.unschedule(timer);
  }
}

void KubeletProbes::stop() {
  stopped_ = true;
  woken_.wake();
}

// Again once the process has ended.
Result<void> KubeletProbes::find() {
  pollfd ended{.fd = found_.get(), .events = POLLIN, .revents = 0};
  if (found_ && poll(&ended, 1, 0) == 0) return {};
  found_.reset();
  const pid_t pid = TRY(find_listener(port_));
  const std::string cgroup = TRY(cgroup_of(pid));
  if (cgroup == "/") {
    return fail(Code::kUnsupported,
                "the kubelet (process " + std::to_string(pid) +
                    ") is in the root cgroup, where its probes cannot be told from others' "
                    "connections: run it in a cgroup of its own, as systemd does");
  }
  cgroup_ = TRY(find_cgroup2_mount()) + cgroup;
  found_.reset(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  if (!found_) return fail_errno(errno, "following the kubelet");
  return {};
}

void KubeletProbes::look() {
  const Result<void> found = finds_ ? find() : Result<void>();
  if (!found) {
    followed_ = 0;
    say(found.error().to_string());
    return;
  }
  const Result<uint64_t> id = cgroup_id(cgroup_);
  if (!id) {
    followed_ = 0;
    say("the kubelet's cgroup " + cgroup_ + " is not there: is --kubelet-cgroup right?");
    found_.reset();
    return;
  }
  if (*id == followed_) return;
  const Result<void> followed = capture_.follow_kubelet(cgroup_);
  if (followed) followed_ = *id;
  say(followed ? "let through" : followed.error().to_string());
}

void KubeletProbes::say(const std::string& state) {
  if (state == state_) return;
  state_ = state;
  auto line = state == "let through" || state == "off" ? log::info("probes") : log::warn("probes");
  if (!cgroup_.empty()) line.field("cgroup", cgroup_);
  if (state == "off") {
    line.say(
        "kubelet probes count as any plain connection, so STRICT refuses them (set "
        "--kubelet-cgroup to let them through)");
  } else {
    line.field("state", state).say("kubelet probes");
  }
}

}  // namespace weft::enrol
