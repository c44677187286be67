#include "agent/compile/locality.h"

#include <algorithm>

namespace weft::compile {

namespace {

constexpr const char* kRegionLabel = "topology.kubernetes.io/region";
constexpr const char* kZoneLabel = "topology.kubernetes.io/zone";
constexpr const char* kSubzoneLabel = "topology.istio.io/subzone";
constexpr const char* kPodLabel = "istio-locality";

}  // namespace

model::Locality parse_locality(std::string_view text) {
  model::Locality locality;
  for (std::string* part : {&locality.region, &locality.zone, &locality.subzone}) {
    const size_t slash = std::min(text.find('/'), text.size());
    *part = text.substr(0, slash);
    text.remove_prefix(std::min(slash + 1, text.size()));
  }
  return locality;
}

model::Locality locality_of_node(const std::string& node, const Store& store) {
  const crd::core::Node* object = store.nodes.find("", node);
  if (object == nullptr) return {};
  const Labels& labels = object->metadata().labels();
  return {std::string(value_of(labels, kRegionLabel)), std::string(value_of(labels, kZoneLabel)),
          std::string(value_of(labels, kSubzoneLabel))};
}

model::Locality locality_of(const crd::core::Pod& pod, const Store& store) {
  std::string own(value_of(pod.metadata().labels(), kPodLabel));
  if (own.empty()) return locality_of_node(pod.spec().nodename(), store);
  // A label's value cannot hold a '/'.
  if (!own.contains('/')) std::ranges::replace(own, '.', '/');
  return parse_locality(own);
}

}  // namespace weft::compile
