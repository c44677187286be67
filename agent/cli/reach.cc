#include "agent/cli/reach.h"

#include "agent/cli/admin_client.h"
#include "agent/cli/cluster.h"
#include "agent/sandbox/layout.h"
#include "agent/sandbox/lifecycle.h"
#include "agent/sandbox/process.h"
#include "agent/sandbox/spawn.h"
#include "agent/source/kube/api_client.h"

#include <algorithm>
#include <filesystem>
#include <map>

namespace weft::cli {

namespace {

using google::protobuf::Value;
using objects::Tree;
using sandbox::Layout;

// kubectl is a process of some 40 MB, and a person waits for the last of them.
constexpr size_t kAtOnce = 8;
constexpr const char* kNameLabel = "app.kubernetes.io/name";

const Tree& at(const Tree& tree, std::string_view name) {
  static const Tree kNothing;
  const Tree* found = tree.find(name);
  return found == nullptr ? kNothing : *found;
}

std::string times(int64_t restarts) {
  if (restarts == 0) return {};
  return ", restarted " + std::to_string(restarts) + (restarts == 1 ? " time" : " times");
}

std::string process_line(const Layout& layout, const std::string& name) {
  const auto state = sandbox::read_process_state(layout, name);
  if (!state) return "not started";
  std::string line = state->state;
  if (state->pid > 0) line += " (pid " + std::to_string(state->pid) + ")";
  return line + times(state->restarts);
}

Places places_in(const Layout& layout) {
  Places places;
  places.controls.push_back({.name = "control",
                             .process = process_line(layout, "control"),
                             .ztunnel = {},
                             .address = layout.control() + "/admin.sock"});
  for (const std::string& node : layout.nodes()) {
    places.nodes.push_back({.name = node,
                            .process = process_line(layout, node + "-agent"),
                            .ztunnel = process_line(layout, node + "-ztunnel"),
                            .address = layout.node(node) + "/agent.sock"});
  }
  return places;
}

// What `kubectl get pods` would tell of it, in words.
std::string pod_line(const Tree& pod) {
  const Tree& status = at(pod, "status");
  bool is_ready = false;
  for (const Tree& one : at(status, "conditions").items) {
    if (one.text_of("type") == "Ready") is_ready = one.text_of("status") == "True";
  }
  int64_t restarts = 0;
  for (const Tree& one : at(status, "containerStatuses").items) {
    restarts += at(one, "restartCount").integer;
  }
  std::string line(at(pod, "metadata").text_of("name"));
  if (at(pod, "metadata").find("deletionTimestamp") != nullptr) {
    line += ", ending";
  } else if (status.text_of("phase") != "Running") {
    line += ", " + std::string(status.text_of("phase"));
  } else {
    line += is_ready ? ", ready" : ", NOT ready";
  }
  return line + times(restarts);
}

bool is_running(const Tree& pod) { return at(pod, "status").text_of("phase") == "Running"; }

Result<Places> places_on_cluster(const Flags& flags) {
  const std::string& ns = flags.get("namespace");
  const std::string path = "/api/v1/namespaces/" + source::kube::escape(ns) +
                           "/pods?labelSelector=app.kubernetes.io%2Fpart-of%3Dweft";
  const auto answers = TRY(ask_cluster(flags, {path}));
  if (!answers[0]) return Fail(answers[0].error());
  Places places = places_of(*answers[0]);
  if (places.controls.empty() && places.nodes.empty()) {
    return fail(Code::kNotFound,
                "nothing of Weft runs in namespace " + ns + ": weft install, or -n NAMESPACE");
  }
  places.kubectl = {"kubectl"};
  if (flags.has("kubeconfig")) {  // kubectl is run in another folder
    places.kubectl.insert(places.kubectl.end(),
                          {"--kubeconfig", std::filesystem::absolute(flags.get("kubeconfig"))});
  }
  if (flags.has("context")) {
    places.kubectl.insert(places.kubectl.end(), {"--context", flags.get("context")});
  }
  places.kubectl.insert(places.kubectl.end(), {"exec", "-n", ns});
  return places;
}

Result<Value> as_json(const Result<std::string>& text) {
  return text ? parse_answer(*text) : Result<Value>(Fail(text.error()));
}

}  // namespace

std::vector<Flag> reach_flags() {
  std::vector<Flag> flags = {{.name = "sandbox",
                              .value = "NAME",
                              .help = "the sandbox, where there are several",
                              .fallback = "weft"}};
  flags.insert(flags.end(), cluster_flags().begin(), cluster_flags().end());
  flags.push_back({.name = "namespace",
                   .value = "NAME",
                   .help = "of the cluster: where Weft's own pods are",
                   .fallback = "istio-system",
                   .letter = 'n'});
  return flags;
}

Places places_of(const Tree& pods) {
  Places places;
  std::map<std::string, Place> nodes;
  for (const Tree& pod : at(pods, "items").items) {
    const std::string component(at(at(pod, "metadata"), "labels").text_of(kNameLabel));
    const std::string name(at(pod, "metadata").text_of("name"));
    const std::string node(at(pod, "spec").text_of("nodeName"));
    if (component == "weft-control") {
      places.controls.push_back({.name = name,
                                 .process = pod_line(pod),
                                 .ztunnel = {},
                                 .address = is_running(pod) ? name : ""});
    } else if (component == "weft-agent" && !node.empty()) {
      nodes[node].process = pod_line(pod);
      if (is_running(pod)) nodes[node].address = name;
    } else if (component == "weft-ztunnel" && !node.empty()) {
      std::string& line = nodes[node].ztunnel;
      line += (line.empty() ? "" : "; ") + pod_line(pod);
    }
  }
  for (auto& [name, place] : nodes) {
    place.name = name;
    if (place.process.empty()) place.process = "no pod";
    if (place.ztunnel.empty()) place.ztunnel = "no pod";
    places.nodes.push_back(std::move(place));
  }
  return places;
}

Result<Places> find_places(const Flags& flags) {
  if (flags.has("kubeconfig") || flags.has("context") || flags.has("namespace")) {
    return places_on_cluster(flags);
  }
  const Layout layout = TRY(Layout::make(flags.get("sandbox")));
  const auto up = sandbox::need_up(layout);
  if (up) return places_in(layout);
  if (flags.has("sandbox")) return Fail(up.error());
  auto places = places_on_cluster(flags);
  if (places) return places;
  return Fail(std::move(places).error().in(up.error().to_string() + "; nor is there a cluster"));
}

std::vector<Result<Value>> ask_places(const Places& all, const std::vector<Place>& asked,
                                      const std::string& path) {
  std::vector<Result<Value>> answers;
  for (size_t begin = 0; begin < asked.size(); begin += kAtOnce) {
    const size_t end = std::min(asked.size(), begin + kAtOnce);
    std::vector<Result<sandbox::Tool>> running;
    for (size_t i = begin; i < end && !all.kubectl.empty(); ++i) {
      const bool is_control = asked[i].ztunnel.empty();
      std::vector<std::string> argv = all.kubectl;
      argv.insert(argv.end(), {asked[i].address, "--", "weft-agent", "ask", "--admin-socket",
                               is_control ? "/run/weft/admin.sock" : "/run/weft/agent.sock", path});
      running.push_back(asked[i].address.empty()
                            ? fail(Code::kUnavailable, "no pod of it is running")
                            : sandbox::start_tool(argv));
    }
    for (size_t i = begin; i < end; ++i) {
      if (all.kubectl.empty()) {
        answers.push_back(as_json(ask(asked[i].address, path)));
      } else if (const auto& tool = running[i - begin]) {
        answers.push_back(as_json(sandbox::finish_tool(*tool)));
      } else {
        answers.push_back(Fail(tool.error()));
      }
    }
  }
  return answers;
}

}  // namespace weft::cli
