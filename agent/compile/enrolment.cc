#include "agent/compile/compiler.h"
#include "agent/compile/store.h"

namespace weft::compile {

namespace {

constexpr const char* kModeLabel = "istio.io/dataplane-mode";
constexpr const char* kInjectKey = "sidecar.istio.io/inject";  // a label; once an annotation

template <class Containers>
bool has_sidecar(const Containers& containers) {
  for (const auto& container : containers) {
    if (container.name() == "istio-proxy") return true;
  }
  return false;
}

std::string_view inject_of(const crd::core::ObjectMeta& meta) {
  const std::string_view label = value_of(meta.labels(), kInjectKey);
  return label.empty() ? value_of(meta.annotations(), kInjectKey) : label;
}

}  // namespace

bool is_to_be_enrolled(const crd::core::Pod& pod, const crd::core::Namespace* ns) {
  const crd::core::PodSpec& spec = pod.spec();
  // Asking for a sidecar is not having one: where nobody injects, such a pod would be in no mesh.
  // Injection is done before a pod is there, so that what has one shows it.
  if (spec.hostnetwork() || has_sidecar(spec.containers()) || has_sidecar(spec.initcontainers())) {
    return false;
  }
  const std::string_view mode = value_of(pod.metadata().labels(), kModeLabel);
  if (mode == "ambient") return true;
  if (mode == "none" || ns == nullptr) return false;
  const Labels& labels = ns->metadata().labels();
  const std::string_view ns_mode = value_of(labels, kModeLabel);
  if (ns_mode == "ambient") return true;
  // What people have from sidecar days. A pod that opted out of injection opted out of the mesh.
  return ns_mode != "none" && value_of(labels, "istio-injection") == "enabled" &&
         inject_of(pod.metadata()) != "false";
}

}  // namespace weft::compile
