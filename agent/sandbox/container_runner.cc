#include "agent/sandbox/container_runner.h"

#include "agent/sandbox/cgroup.h"
#include "agent/sandbox/files.h"
#include "agent/sandbox/images.h"
#include "agent/sandbox/netns.h"
#include "agent/sandbox/pod_runner.h"
#include "ztunnel/base/log.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>

namespace weft::sandbox {

namespace {

using google::protobuf::Value;

// A sandbox is watched by its user: quicker than a kubelet's 10 s to 5 min.
constexpr std::chrono::milliseconds kRestartDelayMin{500};
constexpr std::chrono::milliseconds kRestartDelayMax{10'000};
// One that ran this long has not failed at its start: the delay begins again.
constexpr std::chrono::seconds kRanWell{10};

Result<Fd> open_log(const std::string& path) {
  const size_t slash = path.rfind('/');
  TRY(make_folders(path.substr(0, slash)));
  Fd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
  if (!file) return fail_errno(errno, "opening " + path);
  return file;
}

void set(Value& object, const char* name, const std::string& text) {
  (*object.mutable_struct_value()->mutable_fields())[name].set_string_value(text);
}

}  // namespace

ContainerRunner::ContainerRunner(PodRunner& pod, const crd::core::Container& container)
    : pod_(pod), container_(container), reason_("ContainerCreating") {}

Result<void> ContainerRunner::start() {
  Cluster& cluster = pod_.cluster();
  const crd::core::Pod& object = pod_.pod();
  const std::string& ns = object.metadata().namespace_();
  Images images;
  if (const auto text = read_file(cluster.layout.images_file())) {
    images = TRY(parse_images(*text, cluster.layout.images_file()));
  }
  const Execution execution = TRY(resolve_execution(
      object, container_, images, kImagesFileName,
      [&](const std::string& name) { return cluster.find_config_map(ns, name); }));
  const pid_t pause = TRY(pause_of(pod_.space().cgroup));
  const std::string cgroup = pod_.space().cgroup + "/" + container_.name();
  TRY(make_cgroup(cgroup));
  std::string environment;
  for (const std::string& variable : execution.env) environment += variable + '\0';
  // For `exec`, which starts further programs in the same environment.
  const std::string folder = cluster.layout.pod(object.metadata().uid());
  TRY(write_file_atomically(folder + "/" + container_.name() + ".env", environment, 0600));
  TRY(write_file_atomically(folder + "/" + container_.name() + ".cwd", execution.cwd, 0600));
  const Fd log =
      TRY(open_log(cluster.layout.container_log(object.metadata().uid(), container_.name())));
  SpawnOptions how;
  how.argv = execution.argv;
  how.env = execution.env;
  how.cwd = execution.cwd;
  how.cgroup = cgroup;
  how.stdout_fd = log.get();
  how.prepare = [pause]() -> Result<void> { return enter_pod(pause); };
  running_ = TRY(spawn(how));
  ++starts_;
  began();
  return {};
}

bool ContainerRunner::is_to_run_again(bool is_init) const {
  const std::string& policy = pod_.pod().spec().restartpolicy();
  if (policy == "Never") return false;
  if (policy == "OnFailure" || is_init) return !last_.ok();
  return true;
}

runtime::Task<void> ContainerRunner::wait_until_ended() {
  co_await pod_.cluster().loop.poll(running_->pidfd.get(), POLLIN);
  last_ = reap(*running_);
  running_.reset();
  // What the program left behind in the background ends with it, as with a container's first
  // process.
  const std::string cgroup = pod_.space().cgroup + "/" + container_.name();
  if (auto killed = write_control_file(cgroup + "/cgroup.kill", "1"); !killed) {
    log::warn("kubelet").field("cgroup", cgroup).say(killed.error().to_string());
  }
}

runtime::Task<void> ContainerRunner::run(bool is_init) {
  std::chrono::milliseconds delay = kRestartDelayMin;
  runtime::TaskScope probing;
  if (!is_init) {
    read_probes();
    if (startup_) probing.spawn(watch_startup(*startup_));
    if (liveness_) probing.spawn(watch_liveness(*liveness_));
    if (readiness_) probing.spawn(watch_readiness(*readiness_));
  }
  while (!pod_.leaving()) {
    const auto began = pod_.cluster().loop.now();
    auto started = start();
    if (started) {
      reason_.clear();
      message_.clear();
      pod_.publish();
      co_await wait_until_ended();
      if (pod_.leaving()) break;
      if (!is_to_run_again(is_init)) break;
      reason_ = "CrashLoopBackOff";
      message_ = "container " + container_.name() +
                 " ended: " + (killed_for_.empty() ? last_.to_string() : killed_for_);
      if (pod_.cluster().loop.now() - began > kRanWell) delay = kRestartDelayMin;
    } else {
      reason_ = started.error().code == Code::kNotFound ? "CreateContainerConfigError"
                                                        : "RunContainerError";
      message_ = "container " + container_.name() + ": " + started.error().to_string();
    }
    pod_.publish();
    co_await pod_.pause(delay);
    delay = std::min(delay * 2, kRestartDelayMax);
  }
  ended_ = true;
  if (!pod_.leaving()) {
    reason_ = last_.ok() ? "Completed" : "Error";
    message_ = last_.ok() ? "" : "container " + container_.name() + ": " + last_.to_string();
    pod_.publish();
  }
  co_await probing.join();
}

void ContainerRunner::signal(int number) {
  if (running_) ::syscall(SYS_pidfd_send_signal, running_->pidfd.get(), number, nullptr, 0);
}

Value ContainerRunner::status() const {
  Value status;
  auto& fields = *status.mutable_struct_value()->mutable_fields();
  set(status, "name", container_.name());
  set(status, "image", container_.image());
  fields["ready"].set_bool_value(is_ready());
  fields["restartCount"].set_number_value(std::max(0, starts_ - 1));
  Value& state = fields["state"];
  Value detail;
  detail.mutable_struct_value();
  const char* kind = "waiting";
  if (running_) {
    kind = "running";
  } else if (ended_) {
    kind = "terminated";
    (*detail.mutable_struct_value()->mutable_fields())["exitCode"].set_number_value(last_.code());
  }
  if (!running_) set(detail, "reason", reason_);
  if (!message_.empty()) set(detail, "message", message_);
  (*state.mutable_struct_value()->mutable_fields())[kind] = detail;
  return status;
}

}  // namespace weft::sandbox
