#include "agent/sandbox/mesh.h"

#include "agent/identity/token.h"
#include "agent/sandbox/cgroup.h"
#include "agent/sandbox/files.h"
#include "agent/sandbox/netns.h"
#include "agent/sandbox/spawn.h"
#include "ztunnel/base/log.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <filesystem>
#include <sstream>

namespace weft::sandbox {

namespace {

constexpr std::chrono::milliseconds kRestartDelayMin{200};
constexpr std::chrono::milliseconds kRestartDelayMax{5'000};
constexpr std::chrono::seconds kRanWell{10};
constexpr std::chrono::milliseconds kNeedsTurn{50};
constexpr std::chrono::seconds kTokenLifetime{3600};

Result<std::string> binary(const char* name) {
  std::error_code error;
  const auto own = std::filesystem::read_symlink("/proc/self/exe", error);
  const std::string path = (own.parent_path() / name).string();
  if (::access(path.c_str(), X_OK) != 0) {
    return fail(Code::kNotFound, std::string(name) + " is not beside weft (" +
                                     own.parent_path().string() +
                                     "): build it, or start with "
                                     "--no-mesh");
  }
  return path;
}

std::string roots_file(const Layout& layout) { return layout.control() + "/root-cert.pem"; }

ProcessSpec control_spec(const Layout& layout, const std::string& agent) {
  ProcessSpec spec;
  spec.name = "control";
  spec.argv = {agent,
               "control",
               "--objects",
               layout.objects(),
               "--state",
               layout.control(),
               "--listen",
               std::string(kControlIp) + ":" + std::to_string(kControlPort),
               "--server-name",
               std::string(kControlName),
               "--token-key",
               layout.keys() + "/token-pub.pem",
               "--admin-socket",
               layout.control() + "/admin.sock"};
  spec.cgroup = layout.cgroup() + "/control";
  spec.netns = layout.netns("control");
  return spec;
}

ProcessSpec agent_spec(const Layout& layout, const std::string& agent, const std::string& node) {
  ProcessSpec spec;
  spec.name = node + "-agent";
  spec.argv = {agent,
               "node",
               "--node",
               node,
               "--objects",
               layout.objects(),
               "--zds-socket",
               layout.node(node) + "/zds.sock",
               "--admin-socket",
               layout.node(node) + "/agent.sock",
               "--bpffs",
               layout.bpf() + "/" + node,
               "--cgroup-root",
               layout.node_cgroup(node),
               "--pod-cgroups",
               layout.pods_cgroup(node)};
  spec.cgroup = layout.node_cgroup(node) + "/agent";
  spec.netns = layout.netns(node);
  return spec;
}

ProcessSpec ztunnel_spec(const Layout& layout, const std::string& ztunnel,
                         const std::string& node) {
  ProcessSpec spec;
  spec.name = node + "-ztunnel";
  spec.argv = {ztunnel,           "node",
               "--node",          node,
               "--control",       std::string(kControlIp) + ":" + std::to_string(kControlPort),
               "--control-name",  std::string(kControlName),
               "--control-roots", roots_file(layout),
               "--token",         layout.node(node) + "/token",
               "--zds-socket",    layout.node(node) + "/zds.sock",
               "--snapshot",      layout.node(node) + "/snapshot"};
  if (const auto more = read_file(layout.ztunnel_flags_file())) {
    std::istringstream lines(*more);
    for (std::string flag; std::getline(lines, flag);) spec.argv.push_back(flag);
  }
  spec.cgroup = layout.node_cgroup(node) + "/ztunnel";
  spec.netns = layout.netns(node + "-ztunnel");
  spec.needs = {roots_file(layout)};
  return spec;
}

Result<void> raise_open_files() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return fail_errno(errno, "getrlimit");
  limit.rlim_cur = limit.rlim_max;
  if (::setrlimit(RLIMIT_NOFILE, &limit) != 0) return fail_errno(errno, "setrlimit");
  return {};
}

Result<Child> start_process(const Layout& layout, const ProcessSpec& spec) {
  TRY(make_cgroup(spec.cgroup));
  const Fd netns = TRY(open_netns(spec.netns));
  const std::string log_path = layout.process_log(spec.name);
  const Fd log(::open(log_path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
  if (!log) return fail_errno(errno, "opening " + log_path);
  SpawnOptions how;
  how.argv = spec.argv;
  how.cgroup = spec.cgroup;
  how.netns_fd = netns.get();
  how.stdout_fd = log.get();
  how.prepare = raise_open_files;
  return spawn(how);
}

std::string first_missing(const ProcessSpec& spec) {
  for (const std::string& file : spec.needs) {
    if (::access(file.c_str(), R_OK) != 0) return file;
  }
  return "";
}

void note(const Layout& layout, const std::string& name, const ProcessState& state) {
  if (auto written = write_process_state(layout, name, state); !written) {
    log::warn("supervisor").say(written.error().to_string());
  }
}

}  // namespace

Result<std::vector<ProcessSpec>> mesh_processes(const Layout& layout) {
  const std::string agent = TRY(binary("weft-agent"));
  const std::string ztunnel = TRY(binary("weft-ztunnel"));
  std::vector<ProcessSpec> specs = {control_spec(layout, agent)};
  for (const std::string& node : layout.nodes()) {
    specs.push_back(agent_spec(layout, agent, node));
    specs.push_back(ztunnel_spec(layout, ztunnel, node));
  }
  return specs;
}

runtime::Task<void> keep_running(runtime::Loop& loop, const Layout& layout, ProcessSpec spec) {
  std::chrono::milliseconds delay = kRestartDelayMin;
  ProcessState state;
  while (true) {
    if (const std::string missing = first_missing(spec); !missing.empty()) {
      const std::string waiting = "waiting for " + missing;
      if (state.state != waiting) {
        state.state = waiting;
        note(layout, spec.name, state);
      }
      co_await loop.sleep(kNeedsTurn);
      continue;
    }
    const auto began = loop.now();
    auto child = start_process(layout, spec);
    if (child) {
      state.state = "running";
      state.pid = child->pid;
      note(layout, spec.name, state);
      log::info("supervisor").field("process", spec.name).field("pid", child->pid).say("started");
      co_await loop.poll(child->pidfd.get(), POLLIN);
      state.state = "ended: " + reap(*child).to_string();
    } else {
      state.state = "ended: " + child.error().to_string();
    }
    state.pid = 0;
    ++state.restarts;
    note(layout, spec.name, state);
    log::warn("supervisor").field("process", spec.name).say(state.state);
    if (loop.now() - began > kRanWell) delay = kRestartDelayMin;
    co_await loop.sleep(delay);
    delay = std::min(delay * 2, kRestartDelayMax);
  }
}

Result<void> write_process_state(const Layout& layout, const std::string& name,
                                 const ProcessState& state) {
  return write_file_atomically(
      layout.processes() + "/" + name,
      std::to_string(state.restarts) + " " + std::to_string(state.pid) + " " + state.state + "\n");
}

Result<ProcessState> read_process_state(const Layout& layout, const std::string& name) {
  const std::string text = TRY(read_file(layout.processes() + "/" + name));
  ProcessState state;
  const char* end = text.data() + text.size();
  auto next = std::from_chars(text.data(), end, state.restarts).ptr;
  if (next != end) next = std::from_chars(next + 1, end, state.pid).ptr;
  if (next != end) state.state.assign(next + 1, end);
  while (!state.state.empty() && state.state.back() == '\n') state.state.pop_back();
  return state;
}

Result<void> make_tokens(const Layout& layout) {
  TRY(make_folders(layout.keys(), 0700));
  TRY(identity::TokenSigner::create_key(layout.keys() + "/token-key.pem",
                                        layout.keys() + "/token-pub.pem"));
  return sign_tokens(layout);
}

Result<void> sign_tokens(const Layout& layout) {
  const auto signer = TRY(identity::TokenSigner::load(layout.keys() + "/token-key.pem"));
  for (const std::string& node : layout.nodes()) {
    const identity::Caller caller{node, "system:serviceaccount:istio-system:ztunnel"};
    const std::string token = TRY(signer->sign(caller, kTokenLifetime));
    TRY(write_file_atomically(layout.node(node) + "/token", token, 0600));
  }
  return {};
}

runtime::Task<void> renew_tokens(runtime::Loop& loop, const Layout& layout) {
  while (true) {
    co_await loop.sleep(std::chrono::milliseconds(kTokenLifetime) / 2);
    if (auto done = sign_tokens(layout); !done) {
      log::error("supervisor")
          .say(std::move(done).error().in("renewing the nodes' tokens").to_string());
    }
  }
}

}  // namespace weft::sandbox
