#include "agent/sandbox/pod_runner.h"

#include "agent/sandbox/cgroup.h"
#include "agent/sandbox/files.h"
#include "agent/sandbox/gateways.h"
#include "agent/sandbox/netns.h"
#include "agent/sandbox/network.h"
#include "ztunnel/base/log.h"

#include <google/protobuf/util/message_differencer.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>

namespace weft::sandbox {

namespace {

constexpr std::chrono::milliseconds kRetryDelay{2'000};
// An agent enrols a pod within a tenth of a second. After this long `get` says what is missing; the
// containers still wait: a pod that is to be in the mesh never runs outside it.
constexpr std::chrono::milliseconds kCaptureNotice{10'000};
constexpr std::chrono::milliseconds kCaptureTurn{50};
constexpr double kGraceSecondsDefault = 30;  // terminationGracePeriodSeconds
constexpr std::chrono::milliseconds kLeaveTurn{20};

std::chrono::milliseconds grace_of(const crd::core::Pod& pod) {
  const auto& value = pod.spec().terminationgraceperiodseconds();
  const double seconds = value.has_number_value() ? value.number_value() : kGraceSecondsDefault;
  return std::chrono::milliseconds(static_cast<int64_t>(std::clamp(seconds, 0.0, 300.0) * 1000));
}

void set_condition(crd::core::PodStatus& status, const char* type, bool is_true) {
  auto* condition = status.add_conditions();
  condition->set_type(type);
  condition->set_status(is_true ? "True" : "False");
}

}  // namespace

PodRunner::PodRunner(Cluster& cluster, PodPtr pod)
    : cluster_(cluster), pod_(std::move(pod)), node_(node_index(pod_->spec().nodename())) {
  for (const auto& container : pod_->spec().initcontainers()) {
    init_containers_.push_back(std::make_unique<ContainerRunner>(*this, container));
  }
  for (const auto& container : pod_->spec().containers()) {
    containers_.push_back(std::make_unique<ContainerRunner>(*this, container));
  }
}

void PodRunner::observe(PodPtr pod) {
  if (pod == nullptr || is_leaving(*pod)) leaving_ = true;
  if (pod != nullptr) pod_ = std::move(pod);
  if (leaving_ && !initialized_) {
    for (const auto& container : init_containers_) container->signal(SIGKILL);
  }
  changed_.wake();  // may be the last that happens to this object
}

runtime::Task<void> PodRunner::pause(std::chrono::milliseconds delay) {
  bool due = leaving_;
  const runtime::TimerId timer = cluster_.loop.schedule(delay, [this, &due] {
    due = true;
    changed_.wake();
  });
  while (!due && !leaving_) co_await changed_.wait();
  cluster_.loop.unschedule(timer);
}

Result<void> PodRunner::prepare() {
  const std::string& uid = pod_->metadata().uid();
  const std::string& node = pod_->spec().nodename();
  const Layout& layout = cluster_.layout;
  space_.netns = layout.pod_netns(*pod_);
  space_.cgroup = layout.pod_cgroup(node, uid);
  space_.resolv_conf = layout.pod(uid) + "/resolv.conf";
  space_.hosts = layout.pod(uid) + "/hosts";
  // Linux' limit for a host name.
  space_.hostname = pod_->metadata().name().substr(0, 63);
  if (ips_.empty()) ips_ = TRY(cluster_.take_ips(node_));
  const std::string_view dns_ip = is_v6(ips_.front()) ? kDnsIpV6 : kDnsIp;
  TRY(make_folders(layout.pod(uid)));
  TRY(write_file_atomically(space_.resolv_conf,
                            resolv_conf_of(pod_->metadata().namespace_(), dns_ip)));
  TRY(write_file_atomically(space_.hosts, hosts_of(ips_, space_.hostname)));
  if (wants_secrets(*pod_)) {
    space_.secrets = layout.secrets(uid);
    TRY(write_secrets(layout, *pod_));
  }
  TRY(add_netns(space_.netns));
  TRY(join_pod(layout, node_, space_.netns, ips_, "veth" + uid.substr(0, 8)));
  TRY(make_cgroup(space_.cgroup));
  pause_ = TRY(start_pause(space_));
  return {};
}

runtime::Task<bool> PodRunner::set_up() {
  while (!leaving_) {
    auto prepared = prepare();
    if (prepared) {
      say("", "");
      co_return true;
    }
    log::error("kubelet").field("pod", pod_->metadata().name()).say(prepared.error().to_string());
    clean_up();
    say("FailedCreatePodSandBox", prepared.error().to_string());
    co_await pause(kRetryDelay);
  }
  co_return false;
}

runtime::Task<void> PodRunner::wait_for_capture() {
  const auto began = cluster_.loop.now();
  while (!leaving_ && cluster_.is_to_be_enrolled(*pod_)) {
    const auto& annotations = pod_->metadata().annotations();
    const auto found = annotations.find(kMeshAnnotation);
    if (found != annotations.end() && found->second == "enabled") break;
    if (reason_.empty() && cluster_.loop.now() - began >= kCaptureNotice) {
      say("WaitingForMesh", "the agent of " + pod_->spec().nodename() +
                                " has not put the pod into the mesh: see `weft sandbox logs node/" +
                                pod_->spec().nodename() + "/agent`");
    }
    co_await pause(kCaptureTurn);
  }
  say("", "");
}

runtime::Task<void> PodRunner::run_init_containers() {
  for (const auto& container : init_containers_) {
    if (leaving_) co_return;
    co_await container->run(true);
    if (container->has_failed() && !leaving_) {
      say("Init:Error", container->message());
      while (!leaving_) co_await changed_.wait();
    }
  }
}

runtime::Task<void> PodRunner::run() {
  if (co_await set_up()) {
    co_await wait_for_capture();
    co_await run_init_containers();
    initialized_ = true;
    if (!leaving_) {
      for (const auto& container : containers_) tasks_.spawn(container->run(false));
    }
    while (!leaving_) co_await changed_.wait();
    co_await terminate();
    co_await tasks_.join();
    // The pause process dies with the cgroup.
    clean_up();
    if (pause_.pid > 0) reap(pause_);
  }
  if (const auto lock = cluster_.store.lock()) {
    const objects::Key key{"Pod", pod_->metadata().namespace_(), pod_->metadata().name()};
    const auto present = cluster_.store.get(key);
    if (present && *present && (*present)->metadata().uid() == pod_->metadata().uid()) {
      [[maybe_unused]] const auto removed = cluster_.store.remove(key);
    }
    // What its node's agent had noted on it.
    const auto& meta = pod_->metadata();
    ::unlink((cluster_.layout.objects() + "/.annotations/" + meta.namespace_() + "." + meta.name() +
              "." + meta.uid() + ".json")
                 .c_str());
  }
}

runtime::Task<void> PodRunner::terminate() {
  const auto end = cluster_.loop.now() + grace_of(*pod_);
  for (const auto& container : containers_) container->signal(SIGTERM);
  for (const auto& container : init_containers_) container->signal(SIGTERM);
  while (cluster_.loop.now() < end) {
    const bool any = std::any_of(containers_.begin(), containers_.end(),
                                 [](const auto& container) { return container->is_running(); });
    if (!any) break;
    co_await cluster_.loop.sleep(kLeaveTurn);
  }
  for (const auto& container : containers_) container->signal(SIGKILL);
}

void PodRunner::clean_up() {
  for (auto& removed : {remove_cgroup(space_.cgroup), delete_netns(space_.netns),
                        remove_tree(cluster_.layout.pod(pod_->metadata().uid())),
                        remove_tree(cluster_.layout.logs() + "/pods/" + pod_->metadata().uid())}) {
    if (!removed) log::warn("kubelet").say(removed.error().to_string());
  }
}

void PodRunner::say(std::string reason, std::string message) {
  reason_ = std::move(reason);
  message_ = std::move(message);
  publish();
}

void PodRunner::fill_status(crd::core::PodStatus& status) const {
  const auto all = [this](auto predicate) {
    return std::all_of(containers_.begin(), containers_.end(),
                       [&](const auto& container) { return predicate(*container); });
  };
  std::string phase = "Pending";
  if (initialized_ && all([](const auto& c) { return c.has_ended(); })) {
    phase = all([](const auto& c) { return !c.has_failed(); }) ? "Succeeded" : "Failed";
  } else if (initialized_ && all([](const auto& c) { return c.was_started(); })) {
    phase = "Running";
  }
  const bool ready = phase == "Running" && all([](const auto& c) { return c.is_ready(); });
  status.set_phase(phase);
  if (!ips_.empty()) status.set_podip(ips_.front());
  for (const std::string& ip : ips_) status.add_podips()->set_ip(ip);
  status.set_hostip(node_ip(node_));
  set_condition(status, "PodScheduled", true);
  set_condition(status, "Initialized", initialized_);
  set_condition(status, "ContainersReady", ready);
  set_condition(status, "Ready", ready);
  std::string reason = reason_;
  std::string message = message_;
  for (const auto& container : containers_) {
    *status.mutable_containerstatuses()->mutable_list_value()->add_values() = container->status();
    if (reason.empty() && !container->message().empty()) {
      reason = container->reason();
      message = container->message();
    }
  }
  for (const auto& container : init_containers_) {
    *status.mutable_initcontainerstatuses()->mutable_list_value()->add_values() =
        container->status();
  }
  if (!reason.empty()) status.mutable_reason()->set_string_value(reason);
  if (!message.empty()) status.mutable_message()->set_string_value(message);
}

void PodRunner::publish() {
  const auto lock = cluster_.store.lock();
  if (!lock) return;
  const objects::Key key{"Pod", pod_->metadata().namespace_(), pod_->metadata().name()};
  const auto present = cluster_.store.get(key);
  if (!present || !*present || (*present)->metadata().uid() != pod_->metadata().uid()) return;
  auto pod = copy_of<crd::core::Pod>(**present);
  crd::core::PodStatus status;
  fill_status(status);
  auto mine = std::make_shared<crd::core::Pod>(*pod_);
  *mine->mutable_status() = status;
  pod_ = std::move(mine);
  if (google::protobuf::util::MessageDifferencer::Equals(pod->status(), status)) return;
  *pod->mutable_status() = std::move(status);
  if (auto put = cluster_.store.put(objects::Object("v1", "Pod", pod)); !put) {
    log::error("kubelet").say(put.error().to_string());
  }
}

}  // namespace weft::sandbox
