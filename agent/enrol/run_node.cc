#include "agent/enrol/run_node.h"

#include "agent/cni/installer.h"
#include "agent/compile/compiler.h"
#include "agent/enrol/capture.h"
#include "agent/enrol/cgroups.h"
#include "agent/enrol/cni_server.h"
#include "agent/enrol/enroller.h"
#include "agent/enrol/kubelet.h"
#include "agent/enrol/status.h"
#include "agent/source/kube/kube_source.h"
#include "agent/source/source.h"
#include "ztunnel/base/flags.h"
#include "ztunnel/base/log.h"
#include "ztunnel/http/http1_server.h"
#include "ztunnel/runtime/socket.h"

#include <poll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <filesystem>
#include <iostream>

namespace weft::enrol {
namespace {

constexpr const char* kTarget = "node";

const std::vector<Flag> kFlags = {
    {.name = "node",
     .value = "NAME",
     .help = "this node, as spec.nodeName of its pods says",
     .kind = Flag::Kind::kRequired},
    {.name = "objects", .value = "DIR", .help = "folder of manifests to watch"},
    {.name = "kubeconfig", .value = "FILE", .help = "the API server that has the objects"},
    {.name = "context", .value = "NAME", .help = "of the kubeconfig (its current-context)"},
    {.name = "in-cluster",
     .help = "the API server of the pod that this runs in",
     .kind = Flag::Kind::kSwitch},
    {.name = "zds-socket",
     .value = "PATH",
     .help = "socket on which ztunnel is told of pods",
     .kind = Flag::Kind::kRequired},
    {.name = "admin-socket",
     .value = "PATH",
     .help = "socket of GET /status and /ztunnel/config_dump",
     .kind = Flag::Kind::kRequired},
    {.name = "cni-socket",
     .value = "PATH",
     .help = "socket on which weft-cni asks whether a pod may start; none: pods start unasked"},
    {.name = "cni-conf-dir",
     .value = "DIR",
     .help = "the container runtime's folder of CNI configurations: weft-cni is kept in it"},
    {.name = "cni-bin-dir",
     .value = "DIR",
     .help = "the container runtime's folder of CNI plugins (with --cni-conf-dir)"},
    {.name = "cni-program",
     .value = "FILE",
     .help = "the weft-cni to install; none: the one beside this program"},
    {.name = "cni-exclude-namespaces",
     .value = "NAME,..",
     .help =
         "whose pods start without waiting for the agent: Weft's own, and what it needs to start",
     .fallback = "kube-system,weft-system"},
    {.name = "bpffs",
     .value = "DIR",
     .help = "where capture is pinned; a bpffs is mounted if it is none",
     .kind = Flag::Kind::kRequired},
    {.name = "pod-cgroups",
     .value = "DIR",
     .help = "cgroup2 folder below which the pods' cgroups are; none: --cgroup-root"},
    {.name = "cgroup-root",
     .value = "DIR",
     .help = "cgroup2 folder to hook: an ancestor of pods and ztunnels (the cgroup2 mount)"},
    {.name = "kubelet-cgroup",
     .value = "DIR|auto",
     .help =
         "the kubelet's cgroup2 folder: its probes pass whatever policy says; auto: of the process "
         "that serves port 10250; none: they do not pass"},
    {.name = "trust-domain", .value = "NAME", .help = "the mesh's", .fallback = "cluster.local"},
    {.name = "empty-slot",
     .value = "refuse|pass",
     .help = "connections of a captured pod that has no listener",
     .fallback = "refuse"},
    {.name = "dns-capture",
     .value = "on|off",
     .help =
         "whether ztunnel answers DNS of pods without an ambient.istio.io/dns-capture annotation",
     .fallback = "on"},
    {.name = "withdraw-on-exit",
     .help = "take capture down at SIGTERM",
     .kind = Flag::Kind::kSwitch},
    {.name = "retire",
     .help = "give the node back: take weft-cni and capture off it at once, then wait for SIGTERM",
     .kind = Flag::Kind::kSwitch}};

// SIGTERM and SIGINT as a descriptor. Before any thread is started, so that all of them block both.
Result<Fd> block_signals() {
  sigset_t signals{};
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  if (const int error = pthread_sigmask(SIG_BLOCK, &signals, nullptr)) {
    return fail_errno(error, "blocking signals");
  }
  Fd descriptor(signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!descriptor) return fail_errno(errno, "making a signalfd");
  return descriptor;
}

// The node role's parts, wired together. Members are destroyed in reverse order.
class Node {
 public:
  Node(runtime::Loop& loop, const Flags& flags, Fd signals) : loop_(loop), flags_(flags) {
    signals_ = std::move(signals);
  }

  Result<void> prepare();
  Result<void> prepare_cni();
  runtime::Task<void> run();

 private:
  runtime::Task<void> withdraw();
  runtime::Task<void> retire();
  runtime::Task<void> leave_nothing();
  std::string not_ready_because() const;
  std::string cni_state() const;
  Result<void> open_source();
  runtime::Task<void> wait_for_signal();
  runtime::Task<void> serve_admin(Fd connection);
  runtime::Task<http::Response> answer(http::Request request);
  runtime::Task<Result<std::string>> ask_ztunnel(std::string path);

  runtime::Loop& loop_;
  const Flags& flags_;
  Fd signals_;
  Fd admin_listener_;
  std::unique_ptr<Capture> capture_;
  std::unique_ptr<source::kube::ApiClient> api_;  // null: objects come from a folder
  std::unique_ptr<source::Source> source_;
  std::unique_ptr<Enroller> enroller_;
  std::unique_ptr<CniServer> cni_;
  std::unique_ptr<cni::Installer> cni_installer_;
  std::unique_ptr<KubeletProbes> probes_;
  std::unique_ptr<runtime::Acceptor> admin_;
  bool retired_ = false;
  bool ending_ = false;
};

Result<void> Node::prepare() {
  const std::string& empty_slot = flags_.get("empty-slot");
  if (empty_slot != "refuse" && empty_slot != "pass") {
    return fail(Code::kInvalid, "--empty-slot: expected \"refuse\" or \"pass\"");
  }
  const std::string& dns_capture = flags_.get("dns-capture");
  if (dns_capture != "on" && dns_capture != "off") {
    return fail(Code::kInvalid, "--dns-capture: expected \"on\" or \"off\"");
  }
  const std::string cgroup_root =
      flags_.has("cgroup-root") ? flags_.get("cgroup-root") : TRY(find_cgroup2_mount());
  const std::string& kubelet = flags_.get("kubelet-cgroup");
  const uint64_t node_netns = TRY(node_netns_cookie(kubelet));
  capture_ = TRY(Capture::open({.cgroup_root = cgroup_root,
                                .bpffs = flags_.get("bpffs"),
                                .name = flags_.get("node"),
                                .node_netns_cookie = node_netns}));
  probes_ = std::make_unique<KubeletProbes>(loop_, *capture_, kubelet);
  TRY(open_source());
  enroller_ = std::make_unique<Enroller>(
      loop_,
      EnrollerConfig{
          .node = flags_.get("node"),
          .pod_cgroups = flags_.has("pod-cgroups") ? flags_.get("pod-cgroups") : cgroup_root,
          .zds_socket = flags_.get("zds-socket"),
          .open_when_empty = empty_slot == "pass",
          .dns_capture = dns_capture == "on"},
      *capture_, *source_, compile::is_to_be_enrolled);
  TRY(enroller_
          ->listen());  // fails where another agent serves this node: before cni-socket is taken
  TRY(prepare_cni());
  admin_listener_ = TRY(runtime::listen_unix(flags_.get("admin-socket"), 0600));
  admin_ = std::make_unique<runtime::Acceptor>(loop_, admin_listener_.get(), [this](Fd connection) {
    return serve_admin(std::move(connection));
  });
  return {};
}

// The plugin is installed once its questions are answered: run() starts with the socket listening.
Result<void> Node::prepare_cni() {
  if (flags_.has("cni-conf-dir") != flags_.has("cni-bin-dir") ||
      (flags_.has("cni-conf-dir") && !flags_.has("cni-socket"))) {
    return fail(Code::kInvalid, "--cni-conf-dir, --cni-bin-dir: both, with --cni-socket, or none");
  }
  if (!flags_.has("cni-socket")) return {};
  const std::string& socket = flags_.get("cni-socket");
  cni_ = std::make_unique<CniServer>(loop_, socket, *enroller_);
  TRY(cni_->listen());
  if (!flags_.has("cni-conf-dir")) return {};
  std::string program = flags_.get("cni-program");
  if (program.empty()) {
    std::error_code error;
    program = std::filesystem::read_symlink("/proc/self/exe", error).parent_path() / "weft-cni";
  }
  cni_installer_ = std::make_unique<cni::Installer>(
      loop_,
      cni::InstallerConfig{.conf_dir = flags_.get("cni-conf-dir"),
                           .bin_dir = flags_.get("cni-bin-dir"),
                           .program = std::move(program),
                           .entry = {.socket = socket,
                                     .exclude_namespaces = flags_.list("cni-exclude-namespaces")}});
  return {};
}

Result<void> Node::open_source() {
  const source::kube::ConfigFlags api_server{.kubeconfig = flags_.get("kubeconfig"),
                                             .context = flags_.get("context"),
                                             .in_cluster = flags_.has("in-cluster")};
  TRY(source::kube::check_one_source(flags_.get("objects"), api_server));
  if (!api_server.is_given()) {
    source_ = TRY(source::make_folder_source(loop_, flags_.get("objects")));
    return {};
  }
  api_ = source::kube::ApiClient::make(loop_, TRY(source::kube::load_config(api_server)));
  source_ = source::kube::make_kube_source(*api_, source::kube::node_resources(flags_.get("node")));
  return {};
}

runtime::Task<void> Node::run() {
  runtime::TaskScope tasks;
  tasks.spawn(enroller_->run());
  if (cni_) tasks.spawn(cni_->run());
  if (flags_.has("retire")) {
    tasks.spawn(retire());
  } else if (cni_installer_) {
    tasks.spawn(cni_installer_->run());
  }
  tasks.spawn(probes_->run());
  tasks.spawn(admin_->run());
  log::info(kTarget).field("node", flags_.get("node")).say("node agent is running");
  co_await wait_for_signal();
  ending_ = true;
  probes_->stop();  // before its link may be taken down
  if (cni_installer_) cni_installer_->stop();
  if (flags_.has("withdraw-on-exit")) co_await withdraw();
  if (retired_) co_await leave_nothing();
  if (cni_) cni_->stop();
  enroller_->stop();
  admin_->stop();
  if (api_) tasks.spawn(api_->stop());
  co_await tasks.join();
  log::info(kTarget).say("node agent has stopped");
  loop_.stop();
}

std::string Node::cni_state() const {
  if (cni_installer_) return cni_installer_->state();
  return cni_ ? "not installed by this agent" : "off";
}

// First the plugin: once the agent does not answer, no pod would start any more.
runtime::Task<void> Node::withdraw() {
  if (cni_installer_) {
    const Result<void> removed = cni_installer_->remove();
    if (!removed) {
      log::warn(kTarget).field("error", removed.error().to_string()).say("weft-cni is still there");
    }
  }
  co_await enroller_->withdraw_all();
}

// Once it is known which pods an earlier agent has captured.
runtime::Task<void> Node::retire() {
  constexpr std::chrono::milliseconds kLook{50};
  while (!enroller_->has_started() && !ending_) co_await loop_.sleep(kLook);
  if (ending_) co_return;
  probes_->stop();
  co_await withdraw();
  retired_ = true;
  log::info(kTarget).say("the node is given back; nothing of the mesh is on it but this process");
}

// The sockets, their lock and ztunnel's snapshot, when no ztunnel is there any more to write
// another; then their folder. In a pod it is the root of a mount, which nobody can remove from
// below: it goes by the way of the node's own root.
runtime::Task<void> Node::leave_nothing() {
  constexpr std::chrono::seconds kPatience{20};  // below a pod's usual grace period
  constexpr std::chrono::milliseconds kLook{100};
  const auto end = loop_.now() + kPatience;
  while (!enroller_->ztunnels().empty() && loop_.now() < end) co_await loop_.sleep(kLook);
  const auto folder = std::filesystem::path(flags_.get("zds-socket")).parent_path();
  std::error_code error;
  for (const char* name : {"ztunnel", "cni.sock", "zds.sock", "agent.sock", "zds.sock.lock"}) {
    std::filesystem::remove_all(folder / name, error);
  }
  for (const char* root : {"", "/proc/1/root"}) rmdir((root + folder.string()).c_str());
}

std::string Node::not_ready_because() const {
  if (!enroller_->has_started()) return "it is not known yet which pods are on this node";
  if (flags_.has("retire")) return retired_ ? "" : "pods are leaving the mesh";
  const std::string cni = cni_installer_ ? cni_installer_->state() : "";
  return cni.empty() || cni.starts_with("installed") ? "" : "weft-cni: " + cni;
}

runtime::Task<void> Node::wait_for_signal() {
  co_await loop_.poll(signals_.get(), POLLIN);
  signalfd_siginfo signal{};
  const ssize_t got = read(signals_.get(), &signal, sizeof(signal));
  if (got == sizeof(signal)) {
    log::info(kTarget).field("signal", static_cast<int64_t>(signal.ssi_signo)).say("stopping");
  }
}

runtime::Task<void> Node::serve_admin(Fd connection) {
  const http::Handler handler = [this](http::Request request) {
    return answer(std::move(request));
  };
  co_await http::serve_http1(
      loop_, std::make_unique<runtime::SocketStream>(loop_, std::move(connection)), handler);
}

runtime::Task<Result<std::string>> Node::ask_ztunnel(std::string path) {
  const std::vector<ZtunnelStatus> ztunnels = enroller_->ztunnels();
  if (ztunnels.empty()) co_return fail(Code::kUnavailable, "no ztunnel is connected");
  // The newest; an older one is on its way out.
  co_return co_await fetch_from_ztunnel(loop_, ztunnels.back().pid, std::move(path));
}

runtime::Task<http::Response> Node::answer(http::Request request) {
  if (request.method == "GET" && request.path == "/ready") {
    const std::string why = not_ready_because();
    co_return http::Response{.status = why.empty() ? 200 : 503,
                             .body = (why.empty() ? "ready" : why) + "\n"};
  }
  const bool is_status = request.path == "/status";
  if (request.method != "GET" || (!is_status && request.path != "/ztunnel/config_dump")) {
    co_return http::Response{
        .status = 404, .body = "GET /ready, /status and /ztunnel/config_dump are all there is\n"};
  }
  Result<std::string> ztunnel = co_await ask_ztunnel(is_status ? "/status" : "/config_dump");
  if (is_status) {
    co_return http::Response{.content_type = "application/json",
                             .body = status_json(flags_.get("node"), *enroller_, *capture_,
                                                 *probes_, cni_state(), ztunnel) +
                                     "\n"};
  }
  if (!ztunnel) co_return http::Response{.status = 502, .body = ztunnel.error().to_string() + "\n"};
  co_return http::Response{.content_type = "application/json", .body = std::move(*ztunnel)};
}

Result<void> run(const std::vector<std::string>& args) {
  const Flags flags = TRY(Flags::parse(args, kFlags));
  if (flags.help()) {
    std::cout << Flags::help_text("weft-agent node", kFlags);
    return {};
  }
  Fd signals = TRY(block_signals());
  const std::unique_ptr<runtime::Loop> loop = TRY(runtime::Loop::create_best());
  Node node(*loop, flags, std::move(signals));
  TRY(node.prepare());
  loop->spawn(node.run());
  loop->run();
  return {};
}

}  // namespace

int run_node(const std::vector<std::string>& args) {
  const Result<void> done = run(args);
  if (done) return 0;
  std::cerr << "weft-agent node: " << done.error().to_string() << "\n";
  return 1;
}

}  // namespace weft::enrol
