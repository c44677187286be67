#include "agent/sandbox/layout.h"

#include <array>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace weft::sandbox {

namespace {

constexpr size_t kNameBytesMax = 20;
constexpr size_t kFileNameBytesMax = 255;  // NAME_MAX

Result<std::string> find_cgroup2() {
  std::ifstream mounts("/proc/mounts");
  std::string line;
  while (std::getline(mounts, line)) {
    std::istringstream fields(line);
    std::string device;
    std::string target;
    std::string type;
    fields >> device >> target >> type;
    if (type == "cgroup2") return target;
  }
  return fail(Code::kUnsupported,
              "no cgroup2 is mounted: mount one (mount -t cgroup2 none /sys/fs/cgroup/unified)");
}

std::string hex(int number) {
  std::array<char, 8> text{};
  const auto end = std::to_chars(text.data(), text.data() + text.size(), number, 16).ptr;
  return {text.data(), end};
}

}  // namespace

Result<Layout> Layout::make(std::string_view name) {
  const bool good =
      !name.empty() && name.size() <= kNameBytesMax &&
      name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789") == std::string_view::npos;
  if (!good) {
    return fail(Code::kInvalid, "sandbox name \"" + std::string(name) +
                                    "\": expected 1 to 20 lower case letters and digits");
  }
  Layout layout;
  layout.cgroup_mount_ = TRY(find_cgroup2());
  layout.name_ = name;
  layout.run_ = "/run/weft/sandbox/" + layout.name_;
  layout.cgroup_ = layout.cgroup_mount_ + "/weft-" + layout.name_;
  return layout;
}

std::string Layout::process_log(std::string_view process) const {
  return logs() + "/" + std::string(process) + ".log";
}

std::string Layout::container_log(std::string_view uid, std::string_view container) const {
  return logs() + "/pods/" + std::string(uid) + "/" + std::string(container) + ".log";
}

std::string Layout::pod_netns(const crd::core::Pod& pod) const {
  const std::string whole =
      netns("pod-" + pod.metadata().namespace_() + "-" + pod.metadata().name());
  if (whole.size() <= kFileNameBytesMax) return whole;
  return netns("pod-" + pod.metadata().uid());
}

std::vector<std::string> Layout::nodes() const {
  std::vector<std::string> names;
  for (int index = 1; index <= kNodesMax; ++index) {
    std::error_code error;
    if (std::filesystem::is_directory(node(node_name(index)), error)) {
      names.push_back(node_name(index));
    }
  }
  return names;
}

Families Layout::families() const {
  std::ifstream file(families_file());
  std::string text;
  file >> text;
  return parse_families(text).value_or(Families{});
}

std::string node_name(int index) { return "node-" + std::to_string(index); }

int node_index(std::string_view node) {
  if (!node.starts_with("node-")) return 0;
  node.remove_prefix(5);
  int index = 0;
  const auto [end, error] = std::from_chars(node.data(), node.data() + node.size(), index);
  if (error != std::errc() || end != node.data() + node.size()) return 0;
  return index >= 1 && index <= kNodesMax ? index : 0;
}

std::string node_ip(int index) { return "172.31.0." + std::to_string(10 + index); }
std::string pod_ip(int index, int host) {
  return "10.244." + std::to_string(index) + "." + std::to_string(host);
}
std::string node_ip_v6(int index) { return "fd00:172:31::" + hex(10 + index); }
std::string pod_ip_v6(int index, int host) {
  return "fd00:10:244:" + hex(index) + "::" + (host == 0 ? "" : hex(host));
}
std::vector<std::string> pod_ips(const Families& families, int index, int host) {
  std::vector<std::string> ips;
  if (families.v4) ips.push_back(pod_ip(index, host));
  if (families.v6) ips.push_back(pod_ip_v6(index, host));
  return ips;
}
std::string service_ip(bool v6, uint32_t number) {
  if (v6) return "fd00:10:96::" + hex(static_cast<int>(number));
  return "10.96." + std::to_string(number >> 8U) + "." + std::to_string(number & 0xffU);
}
std::string gateway_ip(int index) { return pod_ip(index, kGatewayHost); }
std::string ztunnel_ip(int index) { return pod_ip(index, kZtunnelHost); }

}  // namespace weft::sandbox
