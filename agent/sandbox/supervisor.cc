#include "agent/sandbox/supervisor.h"

#include "agent/compile/compiler.h"
#include "agent/sandbox/cgroup.h"
#include "agent/sandbox/dns_server.h"
#include "agent/sandbox/files.h"
#include "agent/sandbox/gateways.h"
#include "agent/sandbox/kubelet.h"
#include "agent/sandbox/mesh.h"
#include "agent/sandbox/netns.h"
#include "agent/sandbox/pod_runner.h"
#include "agent/sandbox/services.h"
#include "agent/source/source.h"
#include "ztunnel/base/log.h"

#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <map>
#include <set>

namespace weft::sandbox {

namespace {

// Several changes that come together are looked at once.
constexpr std::chrono::milliseconds kReconcileDelay{10};
// What could not be done (nft failed, a pod that fits no node) is tried again this often.
constexpr std::chrono::milliseconds kReconcilePeriod{2'000};
constexpr std::chrono::milliseconds kLogCheckPeriod{10'000};
// A container that talks too much loses its log, not the machine's memory: /run is a tmpfs.
constexpr uintmax_t kLogBytesMax = 64 << 20;

std::string random_suffix() {
  constexpr std::string_view kAlphabet = "bcdfghjklmnpqrstvwxz2456789";  // Kubernetes' own
  unsigned char bytes[5];
  while (::getrandom(bytes, sizeof bytes, 0) != static_cast<ssize_t>(sizeof bytes)) {
  }
  std::string out;
  for (const unsigned char byte : bytes) out += kAlphabet[byte % kAlphabet.size()];
  return out;
}

class Supervisor {
 public:
  Supervisor(runtime::Loop& loop, Layout layout, SupervisorOptions options);
  Result<void> start();

 private:
  void on_change(const std::vector<source::Change>& changes);
  void reconcile_soon();
  void reconcile();
  void reconcile_gateways();
  void for_each_secret_holder(Result<void> (*write)(const Layout&, const crd::core::Pod&));
  void reconcile_deployments();
  void schedule_pods();
  void run_pods();
  void program_services();
  Result<std::vector<std::string>> take_ips(int node);
  void remove_pod(const crd::core::Pod& pod);
  void set_pending(const crd::core::Pod& pod, const std::string& message);
  runtime::Task<void> run_pod(std::string uid);
  runtime::Task<void> watch();
  runtime::Task<void> tick();
  runtime::Task<void> limit_logs();

  template <class T>
  std::vector<std::shared_ptr<const T>> all(const char* kind) const {
    std::vector<std::shared_ptr<const T>> found;
    for (auto at = objects_.lower_bound({kind, "", ""}); at != objects_.end(); ++at) {
      if (at->first.kind != kind) break;
      if (const T* typed = at->second->template as<T>()) found.emplace_back(at->second, typed);
    }
    return found;
  }

  runtime::Loop& loop_;
  const Layout layout_;
  const SupervisorOptions options_;
  const Families families_ = layout_.families();
  const Store store_;
  Cluster cluster_;
  compile::WaypointProgram waypoint_;
  std::unique_ptr<source::Source> source_;
  std::map<objects::Key, ObjectPtr> objects_;
  std::map<std::string, std::unique_ptr<PodRunner>> runners_;  // by uid
  std::map<int, int> last_host_;                               // of each node's addresses
  std::map<std::string, std::string> ruleset_;                 // by node, as last applied
  std::shared_ptr<const Zone> zone_ = std::make_shared<Zone>();
  std::vector<DnsSockets> dns_;
  bool reconcile_planned_ = false;
};

Supervisor::Supervisor(runtime::Loop& loop, Layout layout, SupervisorOptions options)
    : loop_(loop),
      layout_(std::move(layout)),
      options_(options),
      store_(layout_.objects()),
      cluster_{.loop = loop_,
               .layout = layout_,
               .store = store_,
               .is_to_be_enrolled =
                   [this](const crd::core::Pod& pod) {
                     if (!options_.mesh) return false;
                     const auto ns = objects_.find({"Namespace", "", pod.metadata().namespace_()});
                     return compile::is_to_be_enrolled(
                         pod,
                         ns == objects_.end() ? nullptr : ns->second->as<crd::core::Namespace>());
                   },
               .find_config_map =
                   [this](const std::string& ns, const std::string& name) {
                     const auto found = objects_.find({"ConfigMap", ns, name});
                     return found == objects_.end() ? nullptr
                                                    : found->second->as<crd::core::ConfigMap>();
                   },
               .take_ips = [this](int node) { return take_ips(node); }} {}

Result<void> Supervisor::start() {
  source_ = TRY(source::make_folder_source(loop_, layout_.objects()));
  for (const std::string& node : layout_.nodes()) {
    const Fd netns = TRY(open_netns(layout_.netns(node)));
    dns_.push_back(TRY(open_dns(netns.get(), kDnsIp)));
    if (families_.v6) dns_.push_back(TRY(open_dns(netns.get(), kDnsIpV6)));
  }
  std::vector<ProcessSpec> processes;
  if (options_.mesh) {
    processes = TRY(mesh_processes(layout_));
    waypoint_ = TRY(waypoint_program());
  }
  for (const DnsSockets& sockets : dns_) {
    const CurrentZone zone = [this] { return zone_; };
    loop_.spawn(serve_dns_udp(loop_, sockets.udp.get(), zone));
    loop_.spawn(serve_dns_tcp(loop_, sockets.tcp.get(), zone));
  }
  for (ProcessSpec& spec : kubelet_processes(layout_)) {
    loop_.spawn(keep_running(loop_, layout_, std::move(spec)));
  }
  for (ProcessSpec& spec : processes) loop_.spawn(keep_running(loop_, layout_, std::move(spec)));
  if (options_.mesh) {
    loop_.spawn(renew_tokens(loop_, layout_, [this] { for_each_secret_holder(write_secrets); }));
  }
  loop_.spawn(watch());
  loop_.spawn(tick());
  loop_.spawn(limit_logs());
  return write_file_atomically(supervisor_ready_file(layout_), std::to_string(::getpid()) + "\n");
}

runtime::Task<void> Supervisor::watch() {
  co_await source_->watch(
      [this](std::vector<source::Change> changes) { on_change(changes); },
      [](const Error& error) { log::error("supervisor").say(error.to_string()); });
}

runtime::Task<void> Supervisor::tick() {
  while (true) {
    co_await loop_.sleep(kReconcilePeriod);
    for_each_secret_holder(refresh_roots);
    reconcile();
  }
}

void Supervisor::on_change(const std::vector<source::Change>& changes) {
  for (const source::Change& change : changes) {
    if (change.object) {
      objects_[change.key] = change.object;
    } else {
      objects_.erase(change.key);
    }
  }
  reconcile_soon();
}

void Supervisor::reconcile_soon() {
  if (reconcile_planned_) return;
  reconcile_planned_ = true;
  loop_.schedule(kReconcileDelay, [this] {
    reconcile_planned_ = false;
    reconcile();
  });
}

void Supervisor::reconcile() {
  if (options_.mesh) reconcile_gateways();
  reconcile_deployments();
  schedule_pods();
  run_pods();
  program_services();
}

void Supervisor::reconcile_gateways() {
  std::vector<ObjectPtr> present;
  for (const auto& [key, object] : objects_) present.push_back(object);
  const GatewayPlan plan = plan_gateways(present, waypoint_, families_);
  if (plan.put.empty() && plan.remove.empty()) return;
  const auto lock = store_.lock();
  for (const ObjectPtr& object : plan.put) {
    if (auto put = store_.put(*object); !put) {
      log::error("supervisor").say(put.error().to_string());
      continue;
    }
    objects_[object->key()] = object;
  }
  for (const objects::Key& key : plan.remove) {
    if (auto removed = store_.remove(key); !removed) {
      log::error("supervisor").say(removed.error().to_string());
    }
    objects_.erase(key);
  }
}

void Supervisor::for_each_secret_holder(Result<void> (*write)(const Layout&,
                                                              const crd::core::Pod&)) {
  for (const auto& [uid, runner] : runners_) {
    if (runner->leaving() || runner->space().secrets.empty()) continue;
    if (auto done = write(layout_, runner->pod()); !done) {
      log::error("supervisor")
          .field("pod", runner->pod().metadata().name())
          .say(done.error().to_string());
    }
  }
}

void Supervisor::reconcile_deployments() {
  std::map<std::string, std::vector<PodPtr>> owned;  // by the owner's uid
  for (const PodPtr& pod : all<crd::core::Pod>("Pod")) {
    for (const auto& owner : pod->metadata().ownerreferences()) {
      if (owner.kind() == "Deployment") owned[owner.uid()].push_back(pod);
    }
  }
  for (const auto& deployment : all<crd::core::Deployment>("Deployment")) {
    const auto mine = owned.extract(deployment->metadata().uid());
    const DeploymentPlan plan = plan_deployment(
        *deployment, mine.empty() ? std::vector<PodPtr>() : mine.mapped(), random_suffix);
    for (const auto& pod : plan.create) {
      const auto lock = store_.lock();
      const objects::Object object("v1", "Pod", pod);
      if (auto put = store_.put(object); !put) {
        log::error("supervisor").say(put.error().to_string());
        continue;
      }
      // Known at once: the next look must not create it again.
      objects_[object.key()] = std::make_shared<objects::Object>(object);
    }
    for (const PodPtr& pod : plan.remove) remove_pod(*pod);
  }
  for (const auto& [uid, orphans] : owned) {
    for (const PodPtr& pod : orphans) {
      if (!is_leaving(*pod)) remove_pod(*pod);
    }
  }
}

void Supervisor::remove_pod(const crd::core::Pod& pod) {
  const auto lock = store_.lock();
  const objects::Key key{"Pod", pod.metadata().namespace_(), pod.metadata().name()};
  const auto present = store_.get(key);
  if (!present || !*present || (*present)->metadata().uid() != pod.metadata().uid()) return;
  auto leaving = copy_of<crd::core::Pod>(**present);
  leaving->mutable_metadata()->set_deletiontimestamp(now_rfc3339());
  if (auto put = store_.put(objects::Object("v1", "Pod", leaving)); !put) {
    log::error("supervisor").say(put.error().to_string());
  }
}

void Supervisor::schedule_pods() {
  std::vector<PodPtr> placed;
  for (const PodPtr& pod : all<crd::core::Pod>("Pod")) {
    if (!pod->spec().nodename().empty()) placed.push_back(pod);
  }
  for (const PodPtr& pod : all<crd::core::Pod>("Pod")) {
    if (!pod->spec().nodename().empty()) continue;
    const objects::Key key{"Pod", pod->metadata().namespace_(), pod->metadata().name()};
    if (is_leaving(*pod)) {
      [[maybe_unused]] const auto removed = store_.remove(key);
      continue;
    }
    const auto node = choose_node(*pod, layout_.nodes(), placed);
    if (!node) {
      set_pending(*pod, node.error().to_string());
      continue;
    }
    const auto lock = store_.lock();
    const auto present = store_.get(key);
    if (!present || !*present) continue;
    if (!(*present)->as<crd::core::Pod>()->spec().nodename().empty()) continue;
    auto bound = copy_of<crd::core::Pod>(**present);
    bound->mutable_spec()->set_nodename(*node);
    bound->mutable_status()->clear_reason();
    bound->mutable_status()->clear_message();
    const auto object = std::make_shared<objects::Object>("v1", "Pod", bound);
    if (auto put = store_.put(*object); !put) {
      log::error("supervisor").say(put.error().to_string());
      continue;
    }
    objects_[key] = object;
    placed.push_back(bound);
  }
}

void Supervisor::set_pending(const crd::core::Pod& pod, const std::string& message) {
  if (pod.status().message().string_value() == message) return;
  const auto lock = store_.lock();
  const auto present = store_.get({"Pod", pod.metadata().namespace_(), pod.metadata().name()});
  if (!present || !*present) return;
  auto pending = copy_of<crd::core::Pod>(**present);
  auto& status = *pending->mutable_status();
  status.set_phase("Pending");
  status.mutable_reason()->set_string_value("Unschedulable");
  status.mutable_message()->set_string_value(message);
  [[maybe_unused]] const auto put = store_.put(objects::Object("v1", "Pod", pending));
}

void Supervisor::run_pods() {
  std::map<std::string, PodPtr> wanted;  // by uid
  for (const PodPtr& pod : all<crd::core::Pod>("Pod")) {
    if (!pod->spec().nodename().empty()) wanted[pod->metadata().uid()] = pod;
  }
  std::vector<std::string> gone;
  for (const auto& [uid, runner] : runners_) {
    if (!wanted.contains(uid)) gone.push_back(uid);
  }
  for (const std::string& uid : gone) runners_.at(uid)->observe(nullptr);
  for (const auto& [uid, pod] : wanted) {
    if (const auto runner = runners_.find(uid); runner != runners_.end()) {
      runner->second->observe(pod);
    } else if (node_index(pod->spec().nodename()) == 0 ||
               !cgroup_exists(layout_.pods_cgroup(pod->spec().nodename()))) {
      set_pending(*pod, "there is no node \"" + pod->spec().nodename() + "\"");
      if (is_leaving(*pod)) {
        [[maybe_unused]] const auto removed =
            store_.remove({"Pod", pod->metadata().namespace_(), pod->metadata().name()});
      }
    } else {
      runners_.emplace(uid, std::make_unique<PodRunner>(cluster_, pod));
      loop_.spawn(run_pod(uid));
    }
  }
}

runtime::Task<void> Supervisor::run_pod(std::string uid) {
  co_await runners_.at(uid)->run();
  // Not from within a call of the runner's own.
  loop_.post([this, uid] {
    runners_.erase(uid);
    reconcile_soon();
  });
}

Result<std::vector<std::string>> Supervisor::take_ips(int node) {
  std::set<std::string> taken;
  for (const PodPtr& pod : all<crd::core::Pod>("Pod")) taken.insert(pod->status().podip());
  for (const auto& [uid, runner] : runners_) taken.insert(runner->pod().status().podip());
  // Onwards from the last one, so that an address is not taken over by a new pod while others still
  // remember the old one.
  int& host = last_host_.try_emplace(node, kFirstPodHost - 1).first->second;
  for (int tries = kFirstPodHost; tries <= kLastPodHost; ++tries) {
    host = host >= kLastPodHost ? kFirstPodHost : host + 1;
    std::vector<std::string> ips = pod_ips(families_, node, host);
    if (!taken.contains(ips.front())) return ips;
  }
  return fail(Code::kLimit, "all addresses of " + node_name(node) + " are taken");
}

void Supervisor::program_services() {
  const auto services = all<crd::core::Service>("Service");
  const auto pods = all<crd::core::Pod>("Pod");
  zone_ = std::make_shared<Zone>(make_zone(services, pods));
  const std::string ruleset = render_nftables(services, pods, families_);
  for (const std::string& node : layout_.nodes()) {
    if (ruleset_[node] == ruleset) continue;
    const auto netns = open_netns(layout_.netns(node));
    if (!netns) continue;
    auto applied = run_tool({"nft", "-f", "-"}, {.netns_fd = netns->get(), .input = ruleset});
    if (!applied) {
      log::error("supervisor").field("node", node).say(applied.error().to_string());
      continue;
    }
    ruleset_[node] = ruleset;
  }
}

runtime::Task<void> Supervisor::limit_logs() {
  while (true) {
    co_await loop_.sleep(kLogCheckPeriod);
    std::error_code error;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(layout_.logs(), error)) {
      if (!entry.is_regular_file(error) || entry.file_size(error) <= kLogBytesMax) continue;
      // Their writers append: the next line starts the file anew.
      std::filesystem::resize_file(entry.path(), 0, error);
    }
  }
}

}  // namespace

Result<void> supervise(const Layout& layout, const SupervisorOptions& options) {
  const auto loop = TRY(runtime::Loop::create(runtime::Backend::kEpoll));
  Supervisor supervisor(*loop, layout, options);
  TRY(supervisor.start());
  loop->run();
  return {};
}

std::string supervisor_ready_file(const Layout& layout) {
  return layout.processes() + "/supervisor";
}

}  // namespace weft::sandbox
