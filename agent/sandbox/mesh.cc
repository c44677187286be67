#include "agent/sandbox/mesh.h"

#include "agent/identity/token.h"
#include "agent/sandbox/files.h"
#include "ztunnel/base/log.h"

#include <unistd.h>

#include <filesystem>
#include <sstream>

namespace weft::sandbox {

namespace {

constexpr std::chrono::seconds kTokenLifetime{3600};

std::string roots_file(const Layout& layout) { return layout.control() + "/roots.pem"; }

// What `up` was asked to add, one flag a line.
void add_flags(const std::string& file, ProcessSpec& spec) {
  const auto more = read_file(file);
  if (!more) return;
  std::istringstream lines(*more);
  for (std::string flag; std::getline(lines, flag);) spec.argv.push_back(flag);
}

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
  add_flags(layout.control_flags_file(), spec);
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
               layout.pods_cgroup(node),
               "--kubelet-cgroup",
               layout.kubelet_cgroup(node)};
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
               "--snapshot",      layout.node(node) + "/snapshot",
               "--resolv-conf",   layout.resolv_conf()};
  add_flags(layout.ztunnel_flags_file(), spec);
  spec.cgroup = layout.node_cgroup(node) + "/ztunnel";
  spec.netns = layout.netns(node + "-ztunnel");
  spec.successor_flags = {"--takeover"};
  spec.needs = {roots_file(layout)};
  return spec;
}

}  // namespace

Result<std::string> binary_beside_us(const char* name) {
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

Result<std::vector<ProcessSpec>> mesh_processes(const Layout& layout) {
  const std::string agent = TRY(binary_beside_us("weft-agent"));
  const std::string ztunnel = TRY(binary_beside_us("weft-ztunnel"));
  std::vector<ProcessSpec> specs = {control_spec(layout, agent)};
  for (const std::string& node : layout.nodes()) {
    specs.push_back(agent_spec(layout, agent, node));
    specs.push_back(ztunnel_spec(layout, ztunnel, node));
  }
  return specs;
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
    const identity::Caller caller{.node = node,
                                  .subject = "system:serviceaccount:istio-system:ztunnel",
                                  .is_node_proxy = true};
    const std::string token = TRY(signer->sign(caller, kTokenLifetime));
    TRY(write_file_atomically(layout.node(node) + "/token", token, 0600));
  }
  return {};
}

Result<std::string> sign_token(const Layout& layout, const identity::Caller& caller) {
  const auto signer = TRY(identity::TokenSigner::load(layout.keys() + "/token-key.pem"));
  return signer->sign(caller, kTokenLifetime);
}

runtime::Task<void> renew_tokens(runtime::Loop& loop, const Layout& layout,
                                 std::function<void()> others) {
  while (true) {
    co_await loop.sleep(std::chrono::milliseconds(kTokenLifetime) / 2);
    if (auto done = sign_tokens(layout); !done) {
      log::error("supervisor")
          .say(std::move(done).error().in("renewing the nodes' tokens").to_string());
    }
    others();
  }
}

}  // namespace weft::sandbox
