#include "agent/sandbox/lifecycle.h"

#include "agent/sandbox/apply.h"
#include "agent/sandbox/cgroup.h"
#include "agent/sandbox/files.h"
#include "agent/sandbox/kubelet.h"
#include "agent/sandbox/mesh.h"
#include "agent/sandbox/netns.h"
#include "agent/sandbox/network.h"
#include "agent/sandbox/spawn.h"
#include "agent/sandbox/store.h"
#include "agent/sandbox/supervisor.h"
#include "ztunnel/base/log.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <thread>

namespace weft::sandbox {

namespace fs = std::filesystem;

namespace {

constexpr std::chrono::seconds kStartTimeout{30};
constexpr std::chrono::milliseconds kStartTurn{50};
constexpr std::chrono::milliseconds kReapedWithin{3'000};
// A process that ended this often at its start does not get better by waiting.
constexpr int kRestartsTooMany = 4;
constexpr uint16_t kReadyPort = 15021;
constexpr const char* kSandboxes = "/run/weft/sandbox";

// The descriptor on which a supervisor holds the lock that `up` took for it.
constexpr int kLockFd = 3;

Result<Fd> open_lock(const Layout& layout) {
  TRY(make_folders(kSandboxes, 0755));
  Fd file(::open(layout.lock_file().c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!file) return fail_errno(errno, "opening " + layout.lock_file());
  return file;
}

// A lock of this name that somebody else removed meanwhile is none.
bool is_still_there(const Fd& lock, const Layout& layout) {
  struct stat held{};
  struct stat named{};
  return ::fstat(lock.get(), &held) == 0 && ::stat(layout.lock_file().c_str(), &named) == 0 &&
         held.st_ino == named.st_ino;
}

Result<Fd> take_lock(const Layout& layout) {
  while (true) {
    Fd lock = TRY(open_lock(layout));
    if (::flock(lock.get(), LOCK_EX | LOCK_NB) != 0) {
      return fail(Code::kRefused, "the sandbox \"" + layout.name() +
                                      "\" is up already: `weft sandbox down` ends it, `--name` "
                                      "makes another");
    }
    if (is_still_there(lock, layout)) return lock;
  }
}

bool has_leftovers(const Layout& layout) {
  std::error_code error;
  return fs::exists(layout.run(), error) || cgroup_exists(layout.cgroup()) ||
         !list_netns(layout.netns_prefix()).empty();
}

void gather_processes(const fs::path& cgroup, std::vector<pid_t>& pids) {
  for (const pid_t pid : processes_in(cgroup.string())) pids.push_back(pid);
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(cgroup, error)) {
    if (entry.is_directory(error)) gather_processes(entry.path(), pids);
  }
}

// The dead stay visible until the machine's init has taken note of them: nothing is to be left.
void wait_for_init(const std::vector<pid_t>& pids) {
  const auto end = std::chrono::steady_clock::now() + kReapedWithin;
  for (const pid_t pid : pids) {
    const std::string entry = "/proc/" + std::to_string(pid);
    while (::access(entry.c_str(), F_OK) == 0 && std::chrono::steady_clock::now() < end) {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
  }
}

Result<void> remove_everything(const Layout& layout) {
  std::vector<pid_t> pids;
  gather_processes(layout.cgroup(), pids);
  // Everybody at once: no supervisor restarts what was killed.
  TRY(remove_cgroup(layout.cgroup()));
  wait_for_init(pids);
  for (const std::string& netns : list_netns(layout.netns_prefix())) TRY(delete_netns(netns));
  return remove_tree(layout.run());
}

Result<void> make_folders_of(const Layout& layout, int nodes) {
  // Keys and sockets are below: for root only.
  TRY(make_folders(layout.run(), 0700));
  for (const std::string& folder : {layout.objects(), layout.control(), layout.logs(), layout.bpf(),
                                    layout.processes(), layout.run() + "/pods"}) {
    TRY(make_folders(folder, 0700));
  }
  for (int node = 1; node <= nodes; ++node) TRY(make_folders(layout.node(node_name(node)), 0700));
  if (::mount("bpf", layout.bpf().c_str(), "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0700") !=
      0) {
    return fail_errno(errno, "mounting a bpffs (does this kernel have BPF?)");
  }
  return {};
}

Result<void> make_namespaces_of(const Layout& layout, int nodes) {
  TRY(make_fabric(layout, nodes));
  for (int node = 1; node <= nodes; ++node) {
    const std::string ztunnel = node_name(node) + "-ztunnel";
    TRY(add_netns(layout.netns(ztunnel)));
    // It speaks to control by IPv4, whatever its pods have.
    const Families both{.v4 = true, .v6 = layout.families().v6};
    TRY(join_pod(layout, node, layout.netns(ztunnel), pod_ips(both, node, kZtunnelHost),
                 "ztunnel"));
    TRY(make_cgroup(layout.pods_cgroup(node_name(node))));
  }
  return make_cgroup(layout.cgroup() + "/supervisor");
}

Result<void> make_first_objects(const Layout& layout) {
  const Store store(layout.objects());
  const auto lock = TRY(store.lock());
  for (const char* name : {"default", "kube-system", "istio-system"}) {
    auto ns = std::make_shared<crd::core::Namespace>();
    ns->mutable_metadata()->set_name(name);
    ns->mutable_metadata()->set_uid(new_uid());
    ns->mutable_metadata()->set_creationtimestamp(now_rfc3339());
    (*ns->mutable_metadata()->mutable_labels())["kubernetes.io/metadata.name"] = name;
    TRY(store.put(objects::Object("v1", "Namespace", ns)));
  }
  return {};
}

Result<void> start_supervisor(const Layout& layout, const Fd& lock, bool mesh) {
  const std::string log_path = layout.process_log("supervisor");
  const Fd log(::open(log_path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
  if (!log) return fail_errno(errno, "opening " + log_path);
  SpawnOptions how;
  how.argv = {"/proc/self/exe", "sandbox", "supervise", "--name", layout.name()};
  if (!mesh) how.argv.push_back("--no-mesh");
  how.cgroup = layout.cgroup() + "/supervisor";
  how.stdout_fd = log.get();
  const int lock_fd = lock.get();
  how.prepare = [lock_fd]() -> Result<void> {
    if (::dup2(lock_fd, kLockFd) < 0) return fail_errno(errno, "passing the lock");
    if (lock_fd == kLockFd) ::fcntl(kLockFd, F_SETFD, 0);
    return {};
  };
  TRY(spawn(how));  // it outlives us: nobody waits for it
  return {};
}

// Why a process of the sandbox does not come up, with its own last words.
Result<void> check_process(const Layout& layout, const std::string& name) {
  const auto state = read_process_state(layout, name);
  if (!state || state->restarts < kRestartsTooMany) return {};
  return fail(Code::kUnavailable, name + " does not start (" + state->state +
                                      "): " + tail_of(layout.process_log(name), 1));
}

bool answers(const std::string& socket_path) {
  const Fd client(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (!client || socket_path.size() >= sizeof address.sun_path) return false;
  socket_path.copy(address.sun_path, sizeof address.sun_path - 1);
  return ::connect(client.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
}

runtime::Task<void> ask_ztunnel(runtime::Loop& loop, int netns_fd, bool& ready) {
  const auto passed = co_await ask(loop, netns_fd, {*IpAddress::parse("127.0.0.1"), kReadyPort},
                                   {.port = kReadyPort, .path = "/healthz/ready"});
  ready = passed.has_value();
  loop.stop();
}

bool is_ztunnel_ready(const Layout& layout, const std::string& node) {
  const auto netns = open_netns(layout.netns(node + "-ztunnel"));
  const auto loop = runtime::Loop::create(runtime::Backend::kEpoll);
  if (!netns || !loop) return false;
  bool ready = false;
  (*loop)->spawn(ask_ztunnel(**loop, netns->get(), ready));
  (*loop)->run();
  return ready;
}

struct Awaited {
  std::string process;
  std::function<bool()> is_up;
};

std::vector<Awaited> what_to_await(const Layout& layout, bool mesh) {
  std::vector<Awaited> all;
  if (!mesh) return all;
  all.push_back({"control", [&layout] { return answers(layout.control() + "/admin.sock"); }});
  for (const std::string& node : layout.nodes()) {
    all.push_back(
        {node + "-agent", [&layout, node] { return answers(layout.node(node) + "/agent.sock"); }});
    all.push_back({node + "-ztunnel", [&layout, node] { return is_ztunnel_ready(layout, node); }});
  }
  return all;
}

Result<void> wait_until(const std::function<bool()>& is_so,
                        const std::function<Result<void>()>& check, const std::string& what,
                        const std::string& words) {
  const auto end = std::chrono::steady_clock::now() + kStartTimeout;
  while (!is_so()) {
    TRY(check());
    if (std::chrono::steady_clock::now() >= end) {
      return fail(Code::kTimeout, what + " did not start within 30 s: " + tail_of(words, 1));
    }
    std::this_thread::sleep_for(kStartTurn);
  }
  return {};
}

Result<void> wait_for_parts(const Layout& layout, bool mesh, const Progress& progress) {
  const std::string log = layout.process_log("supervisor");
  TRY(wait_until([&] { return ::access(supervisor_ready_file(layout).c_str(), F_OK) == 0; },
                 [&]() -> Result<void> {
                   if (is_populated(layout.cgroup() + "/supervisor")) return {};
                   return fail(Code::kUnavailable, tail_of(log, 1));
                 },
                 "the supervisor", log));
  for (const Awaited& awaited : what_to_await(layout, mesh)) {
    TRY(wait_until(
        awaited.is_up, [&]() -> Result<void> { return check_process(layout, awaited.process); },
        awaited.process, layout.process_log(awaited.process)));
    progress(awaited.process + " is up");
  }
  return {};
}

Result<void> apply_first(const Layout& layout, const std::string& manifests,
                         const Progress& progress) {
  if (manifests.empty()) return {};
  const Applied applied = apply_manifests(layout, manifests, "default");
  for (const std::string& line : applied.report) progress(line);
  if (applied.errors.empty()) return {};
  std::string text;
  for (const Error& error : applied.errors) text += (text.empty() ? "" : "\n") + error.to_string();
  return fail(Code::kInvalid, text);
}

Result<void> write_flags(const std::string& file, const std::vector<std::string>& flags) {
  if (flags.empty()) return {};
  std::string lines;
  for (const std::string& flag : flags) lines += "--" + flag + "\n";
  return write_file_atomically(file, lines);
}

Result<void> make_all(const Layout& layout, const Fd& lock, const UpOptions& options,
                      const Progress& progress) {
  TRY(make_folders_of(layout, options.nodes));
  TRY(write_file_atomically(layout.families_file(), to_string(options.families) + "\n"));
  TRY(make_first_objects(layout));
  TRY(write_flags(layout.ztunnel_flags_file(), options.ztunnel_flags));
  TRY(write_flags(layout.control_flags_file(), options.control_flags));
  // First what costs nothing to get wrong: a mistake in a manifest ends here.
  TRY(apply_first(layout, options.manifests, progress));
  TRY(make_namespaces_of(layout, options.nodes));
  if (options.mesh) TRY(make_tokens(layout));
  // A ztunnel asks the cluster's DNS, as one in a pod would, and not the machine's.
  TRY(write_file_atomically(layout.resolv_conf(), "nameserver " + std::string(kDnsIp) + "\n"));
  TRY(start_supervisor(layout, lock, options.mesh));
  return wait_for_parts(layout, options.mesh, progress);
}

}  // namespace

Result<void> need_root() {
  if (::geteuid() == 0) return {};
  return fail(Code::kRefused,
              "weft sandbox needs root (for network namespaces, cgroups and BPF): try sudo");
}

bool is_up(const Layout& layout) {
  const Fd lock(::open(layout.lock_file().c_str(), O_RDWR | O_CLOEXEC));
  if (!lock) return false;
  if (::flock(lock.get(), LOCK_EX | LOCK_NB) != 0) return true;
  return false;
}

Result<void> need_up(const Layout& layout) {
  TRY(need_root());
  if (is_up(layout)) return {};
  const std::string quoted = "the sandbox \"" + layout.name() + "\" ";
  if (has_leftovers(layout)) {
    return fail(Code::kUnavailable, quoted +
                                        "has lost its supervisor: `weft sandbox down` removes "
                                        "what is left, `weft sandbox up` starts anew");
  }
  return fail(Code::kUnavailable, quoted + "is not up: start it with `weft sandbox up`");
}

Result<void> bring_up(const Layout& layout, const UpOptions& options, const Progress& progress) {
  TRY(need_root());
  TRY(run_tool({"ip", "-V"}));
  TRY(run_tool({"nft", "-v"}));
  const Fd lock = TRY(take_lock(layout));
  if (has_leftovers(layout)) {
    progress("removing what a killed sandbox \"" + layout.name() + "\" left behind");
    TRY(remove_everything(layout));
  }
  auto made = make_all(layout, lock, options, progress);
  if (made || options.keep_failed) return made;
  auto removed = remove_everything(layout);
  ::unlink(layout.lock_file().c_str());
  if (!removed) progress("could not remove everything: " + removed.error().to_string());
  return made;
}

Result<bool> take_down(const Layout& layout) {
  TRY(need_root());
  const bool was_there = has_leftovers(layout);
  TRY(remove_everything(layout));
  ::unlink(layout.lock_file().c_str());
  // The folders that all sandboxes share, if this was the last.
  ::rmdir(kSandboxes);
  ::rmdir("/run/weft");
  return was_there;
}

Result<void> run_supervisor(const Layout& layout, bool mesh) {
  TRY(need_root());
  if (::fcntl(kLockFd, F_GETFD) < 0 || !cgroup_exists(layout.cgroup() + "/supervisor")) {
    return fail(Code::kRefused, "supervise is for `weft sandbox up` to start");
  }
  ::fcntl(kLockFd, F_SETFD, FD_CLOEXEC);
  log::set_level(log::Level::kInfo);
  return supervise(layout, {.mesh = mesh});
}

std::vector<std::string> sandbox_names() {
  std::vector<std::string> names;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(kSandboxes, error)) {
    if (entry.is_directory(error)) names.push_back(entry.path().filename().string());
  }
  return names;
}

}  // namespace weft::sandbox
