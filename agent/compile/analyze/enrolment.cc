#include "agent/compile/analyze/checks.h"

#include <set>

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

// Of a proxy inside of the pod. What traffic.sidecar.istio.io says of ports and addresses does
// hold.
bool is_for_a_sidecar(std::string_view annotation) {
  for (const std::string_view prefix :
       {"sidecar.istio.io/", "proxy.istio.io/", "inject.istio.io/", "status.sidecar.istio.io/",
        "readiness.status.sidecar.istio.io/", "prometheus.istio.io/"}) {
    if (annotation.starts_with(prefix)) return annotation != kInjectKey;
  }
  return false;
}

std::string_view inject_of(const Shape& shape) {
  const auto& meta = shape.pod.metadata();
  const std::string_view label = compile::value_of(meta.labels(), kInjectKey);
  return label.empty() ? compile::value_of(meta.annotations(), kInjectKey) : label;
}

// Nobody injects one here: such a pod is in the mesh by its namespace, or not at all.
void check_wish_for_a_sidecar(const Shape& shape, bool is_wanted, Findings& findings) {
  if (inject_of(shape) != "true") return;
  if (shape.mesh == Shape::Mesh::kIn) {
    findings.add(kOfASidecar, shape.origin,
                 "sidecar.istio.io/inject=true: its pods are in the mesh without a sidecar");
  } else if (shape.mesh == Shape::Mesh::kOut && !is_wanted) {
    findings.add(kStaysOutside, shape.origin,
                 "sidecar.istio.io/inject=true asks for a sidecar, of which there are none: its "
                 "pods stay outside the mesh until they, or their namespace, are labelled "
                 "istio.io/dataplane-mode=ambient");
  }
}

void check_sidecar_annotations(const Shape& shape, Findings& findings) {
  std::set<std::string> idle;  // in one order, whatever the map's
  for (const auto& [name, value] : shape.pod.metadata().annotations()) {
    if (is_for_a_sidecar(name)) idle.insert(name);
  }
  if (idle.empty()) return;
  std::string names;
  for (const std::string& name : idle) names += (names.empty() ? "" : ", ") + name;
  findings.add(kOfASidecar, shape.origin,
               "there is no proxy in its pods to which these annotations could apply: " + names);
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
      findings.add(
          kOtherLabel, key,
          "istio-injection=enabled puts its pods in the mesh, without sidecars: READY stays 1/1, "
          "not 2/2; prefer istio.io/dataplane-mode=ambient, which says so");
    }
  }
}

void check_pods_can_join(const Cluster& cluster, Findings& findings) {
  for (const Shape& shape : cluster.shapes()) {
    check_mode(shape.pod.metadata().labels(), shape.origin, findings);
    if (shape.mesh == Shape::Mesh::kIn) check_sidecar_annotations(shape, findings);
    const bool is_wanted = is_wanted_by_namespace(shape, cluster);
    check_wish_for_a_sidecar(shape, is_wanted, findings);
    if (!is_wanted || shape.mesh != Shape::Mesh::kOut) continue;
    if (shape.pod.spec().hostnetwork()) {
      findings.add(
          kStaysOutside, shape.origin,
          "hostNetwork: its pods stay outside the mesh, in a namespace that is in it: they "
          "have no identity there, and STRICT workloads refuse them");
    } else if (inject_of(shape) == "false") {
      continue;  // somebody said so
    } else {
      findings.add(kStaysOutside, shape.origin,
                   "its pods have a sidecar (a container istio-proxy) and stay outside the mesh");
    }
  }
}

}  // namespace weft::analyze
