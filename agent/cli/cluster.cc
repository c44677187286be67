#include "agent/cli/cluster.h"

#include "agent/cli/dump_tables.h"
#include "agent/source/kube/api_client.h"
#include "ztunnel/runtime/sync.h"

#include <charconv>
#include <cstdlib>
#include <set>

namespace weft::cli {

namespace {

using objects::Tree;
using runtime::Task;
using source::kube::ApiClient;
using Answers = std::vector<Result<Tree>>;

constexpr const char* kVersionLabel = "app.kubernetes.io/version";
// As the chart's kubeVersion has it.
constexpr int64_t kMinorMin = 28;
// The lowest kernel that has what capture cannot do without.
constexpr int64_t kKernelMin[] = {5, 17};

std::string default_kubeconfig() {
  if (const char* named = std::getenv("KUBECONFIG"); named != nullptr && *named != '\0') {
    const std::string list = named;
    return list.substr(0, list.find(':'));
  }
  const char* home = std::getenv("HOME");
  return std::string(home == nullptr ? "" : home) + "/.kube/config";
}

Task<void> ask_all(ApiClient& client, std::vector<std::string> paths, Answers& answers) {
  for (const std::string& path : paths) {
    auto body = source::kube::body_of(co_await client.request({.path = path}));
    if (!body) {
      answers.push_back(Fail(std::move(body.error()).in(path)));
    } else {
      answers.push_back(objects::parse_json(*body));
    }
  }
  co_await client.stop();
  client.loop().stop();
}

const Tree& at(const Tree& tree, std::string_view name) {
  static const Tree kNothing;
  const Tree* found = tree.find(name);
  return found == nullptr ? kNothing : *found;
}

int64_t number_at(const Tree& tree, std::string_view name) { return at(tree, name).integer; }

// "5.15.0-76-generic" -> {5, 15}; what is no number is 0.
std::pair<int64_t, int64_t> kernel_of(std::string_view text) {
  int64_t major = 0;
  int64_t minor = 0;
  const auto first = std::from_chars(text.data(), text.data() + text.size(), major);
  if (first.ptr != text.data() + text.size() && *first.ptr == '.') {
    std::from_chars(first.ptr + 1, text.data() + text.size(), minor);
  }
  return {major, minor};
}

}  // namespace

const std::vector<Flag>& cluster_flags() {
  static const std::vector<Flag> flags = {
      {.name = "kubeconfig", .value = "FILE", .help = "the cluster; none: as kubectl finds it"},
      {.name = "context", .value = "NAME", .help = "of the kubeconfig (its current-context)"}};
  return flags;
}

Result<source::kube::ApiConfig> cluster_config(const Flags& flags) {
  const std::string file = flags.has("kubeconfig") ? flags.get("kubeconfig") : default_kubeconfig();
  return source::kube::kubeconfig(file, flags.get("context"));
}

Result<Answers> ask_cluster(const Flags& flags, const std::vector<std::string>& paths) {
  auto config = TRY(cluster_config(flags));
  const auto loop = TRY(runtime::Loop::create(runtime::Backend::kEpoll));
  const auto client = ApiClient::make(*loop, std::move(config));
  Answers answers;
  loop->spawn(ask_all(*client, paths, answers));
  loop->run();
  return answers;
}

std::string components_path(std::string_view plural, std::string_view ns) {
  std::string path = "/apis/apps/v1/";
  if (!ns.empty()) path += "namespaces/" + source::kube::escape(ns) + "/";
  return path + std::string(plural) + "?labelSelector=app.kubernetes.io%2Fpart-of%3Dweft";
}

std::vector<Component> components_in(const Tree& list, const std::string& kind) {
  std::vector<Component> found;
  for (const Tree& item : at(list, "items").items) {
    const Tree& metadata = at(item, "metadata");
    const Tree& status = at(item, "status");
    const Tree& containers = at(at(at(at(item, "spec"), "template"), "spec"), "containers");
    const bool everywhere = kind == "DaemonSet";
    found.push_back(
        {.kind = kind,
         .ns = std::string(metadata.text_of("namespace")),
         .name = std::string(metadata.text_of("name")),
         .version = std::string(at(metadata, "labels").text_of(kVersionLabel)),
         .image = containers.items.empty() ? std::string()
                                           : std::string(containers.items.front().text_of("image")),
         .wanted = everywhere ? number_at(status, "desiredNumberScheduled")
                              : number_at(at(item, "spec"), "replicas"),
         .ready = number_at(status, everywhere ? "numberReady" : "readyReplicas"),
         .updated = number_at(status, everywhere ? "updatedNumberScheduled" : "updatedReplicas")});
  }
  return found;
}

std::string components_table(const std::vector<Component>& components) {
  std::vector<std::vector<std::string>> rows = {
      {"COMPONENT", "NAMESPACE", "READY", "VERSION", "IMAGE"}};
  for (const Component& one : components) {
    rows.push_back({one.name, one.ns, std::to_string(one.ready) + "/" + std::to_string(one.wanted),
                    one.version.empty() ? "-" : one.version, one.image});
  }
  return aligned(rows);
}

std::vector<Verdict> judge_cluster(const Tree& version, const Tree& nodes, const Tree& istiods) {
  std::vector<Verdict> verdicts;
  const std::string minor_text(version.text_of("minor"));
  const int64_t minor = std::atoll(minor_text.c_str());  // "28+" on some platforms
  if (version.text_of("major") == "1" && minor < kMinorMin) {
    verdicts.push_back({true, "Kubernetes " + std::string(version.text_of("gitVersion")) +
                                  " is older than 1." + std::to_string(kMinorMin) +
                                  ": the API server lacks what the chart uses"});
  }
  std::set<std::string> old_kernels;
  for (const Tree& node : at(nodes, "items").items) {
    const Tree& info = at(at(node, "status"), "nodeInfo");
    if (info.text_of("operatingSystem") == "windows") continue;
    const std::string kernel(info.text_of("kernelVersion"));
    if (kernel.empty() ||
        kernel_of(kernel) >= std::pair<int64_t, int64_t>(kKernelMin[0], kKernelMin[1])) {
      continue;
    }
    old_kernels.insert(std::string(at(node, "metadata").text_of("name")) + " (" + kernel + ")");
  }
  for (const std::string& node : old_kernels) {
    verdicts.push_back({true, "node " + node + " has a kernel before " +
                                  std::to_string(kKernelMin[0]) + "." +
                                  std::to_string(kKernelMin[1]) +
                                  ": its pods could not be captured; upgrade it, or keep Weft off "
                                  "it with agent.nodeSelector and ztunnel.nodeSelector"});
  }
  for (const Tree& istiod : at(istiods, "items").items) {
    const Tree& metadata = at(istiod, "metadata");
    verdicts.push_back(
        {false,
         "Istio's control plane is in namespace " + std::string(metadata.text_of("namespace")) +
             ": set revision=NAME, and label with istio.io/rev=NAME what Weft is to act on"});
  }
  return verdicts;
}

}  // namespace weft::cli
