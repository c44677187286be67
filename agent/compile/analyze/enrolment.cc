#include "agent/compile/analyze/checks.h"

namespace weft::analyze {

namespace {

constexpr const char* kModeLabel = "istio.io/dataplane-mode";
constexpr const char* kInjectionLabel = "istio-injection";
constexpr const char* kInjectKey = "sidecar.istio.io/inject";

void check_mode(const compile::Labels& labels, const objects::Key& key, Findings& findings) {
  const std::string_view mode = compile::value_of(labels, kModeLabel);
  if (mode.empty() || mode == "ambient" || mode == "none") return;
  findings.add(kUnknownMode, key,
               "the label istio.io/dataplane-mode=" + std::string(mode) +
                   " means nothing: expected ambient or none");
}

}  // namespace

void check_namespace_labels(const Cluster& cluster, Findings& findings) {
  for (const auto& [name, ns] : cluster.store().namespaces.in("")) {
    const objects::Key key{"Namespace", "", name};
    const auto& labels = ns->metadata().labels();
    check_mode(labels, key, findings);
    const std::string_view injection = compile::value_of(labels, kInjectionLabel);
    const std::string_view mode = compile::value_of(labels, kModeLabel);
    if (injection.empty()) continue;
    if (!mode.empty()) {
      findings.add(kTwoLabels, key,
                   "has both istio-injection=" + std::string(injection) +
                       " and istio.io/dataplane-mode=" + std::string(mode) +
                       ": the latter decides; remove the former");
    } else if (injection == "enabled") {
      findings.add(kOtherLabel, key,
                   "istio-injection=enabled puts its pods in the mesh, without sidecars; prefer "
                   "istio.io/dataplane-mode=ambient, which says so");
    }
  }
}

void check_pods_can_join(const Cluster& cluster, Findings& findings) {
  for (const Shape& shape : cluster.shapes()) {
    check_mode(shape.pod.metadata().labels(), shape.origin, findings);
    if (!is_wanted_by_namespace(shape, cluster) || shape.mesh != Shape::Mesh::kOut) continue;
    if (shape.pod.spec().hostnetwork()) {
      findings.add(
          kStaysOutside, shape.origin,
          "hostNetwork: its pods stay outside the mesh, in a namespace that is in it: they "
          "have no identity there, and STRICT workloads refuse them");
    } else if (compile::value_of(shape.pod.metadata().labels(), kInjectKey) == "false" ||
               compile::value_of(shape.pod.metadata().annotations(), kInjectKey) == "false") {
      continue;  // somebody said so
    } else {
      findings.add(kStaysOutside, shape.origin,
                   "its pods have a sidecar (sidecar.istio.io/inject=true, or a container "
                   "istio-proxy) and stay outside the mesh");
    }
  }
}

}  // namespace weft::analyze
