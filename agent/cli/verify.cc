// `weft verify` and `weft version`: what of Weft runs on a cluster.

#include "agent/cli/cluster.h"
#include "agent/cli/commands.h"

#include <cstdio>

namespace weft::cli {

namespace {

using objects::Tree;

Result<std::vector<Component>> components_of(const Flags& flags, const std::string& ns) {
  const auto answers = TRY(
      ask_cluster(flags, {components_path("deployments", ns), components_path("daemonsets", ns)}));
  std::vector<Component> all;
  for (size_t i = 0; i < answers.size(); ++i) {
    if (!answers[i]) return Fail(answers[i].error());
    for (Component& one : components_in(*answers[i], i == 0 ? "Deployment" : "DaemonSet")) {
      all.push_back(std::move(one));
    }
  }
  return all;
}

std::string lower_kind(const Component& one) {
  return one.kind == "Deployment" ? "deployment" : "daemonset";
}

// What is wrong and what to look at, a line each; empty: all is well.
std::string complaints_about(const std::vector<Component>& components, const std::string& ns) {
  std::string text;
  for (const char* wanted : {"weft-control", "weft-agent", "weft-ztunnel"}) {
    bool found = false;
    for (const Component& one : components) found |= one.name == wanted;
    if (!found) text += std::string(wanted) + " is not there: weft install -n " + ns + "\n";
  }
  for (const Component& one : components) {
    if (one.is_ready()) continue;
    const int64_t able = std::min(one.ready, one.updated);
    text += one.name + ": " + std::to_string(able) + " of " + std::to_string(one.wanted) +
            " pods are ready and up to date: kubectl -n " + one.ns + " describe " +
            lower_kind(one) + " " + one.name + "\n";
  }
  return text;
}

}  // namespace

int run_verify(const Args& args) {
  std::vector<Flag> known = cluster_flags();
  known.push_back({.name = "namespace",
                   .value = "NAME",
                   .help = "where Weft's own pods are",
                   .fallback = "istio-system",
                   .letter = 'n'});
  const auto flags = Flags::parse(args, known);
  if (!flags) return complain("weft verify: " + flags.error().to_string(), kMisused);
  if (flags->help()) {
    std::fputs(Flags::help_text("weft verify", known).c_str(), stdout);
    return kDone;
  }
  const std::string& ns = flags->get("namespace");
  const auto components = components_of(*flags, ns);
  if (!components) return complain("weft verify: " + components.error().to_string());
  if (!components->empty()) std::fputs(components_table(*components).c_str(), stdout);
  const std::string wrong = complaints_about(*components, ns);
  if (wrong.empty()) return kDone;
  return complain(wrong.substr(0, wrong.size() - 1));
}

int run_version(const Args& args) {
  std::vector<Flag> known = cluster_flags();
  known.push_back({.name = "client",
                   .help = "only of this program; no cluster is asked",
                   .kind = Flag::Kind::kSwitch});
  const auto flags = Flags::parse(args, known);
  if (!flags) return complain("weft version: " + flags.error().to_string(), kMisused);
  if (flags->help()) {
    std::fputs(Flags::help_text("weft version", known).c_str(), stdout);
    return kDone;
  }
  std::printf("weft %s\n", WEFT_VERSION);
  if (flags->has("client")) return kDone;
  const bool asked = flags->has("kubeconfig") || flags->has("context");
  const auto components = components_of(*flags, {});
  if (!components) {
    // Without a cluster there is nothing more to tell, unless one was named.
    return asked ? complain("weft version: " + components.error().to_string()) : kDone;
  }
  if (!components->empty()) std::fputs(components_table(*components).c_str(), stdout);
  return kDone;
}

}  // namespace weft::cli
