#include "agent/compile/waypoint_binding.h"

namespace weft::compile {

namespace {

constexpr const char* kUseWaypoint = "istio.io/use-waypoint";
constexpr const char* kUseWaypointNamespace = "istio.io/use-waypoint-namespace";
constexpr std::string_view kNoWaypoint = "none";

// What these labels name; `ns` is the namespace of who bears them.
std::optional<WaypointName> named_by(const Labels& labels, const std::string& ns) {
  const std::string_view name = value_of(labels, kUseWaypoint);
  if (name.empty() || name == kNoWaypoint) return std::nullopt;
  const std::string_view other = value_of(labels, kUseWaypointNamespace);
  return WaypointName{other.empty() ? ns : std::string(other), std::string(name)};
}

std::optional<WaypointName> named_for(const crd::core::ObjectMeta& meta, const Store& store) {
  if (!value_of(meta.labels(), kUseWaypoint).empty()) {
    return named_by(meta.labels(), meta.namespace_());
  }
  const auto* ns = store.namespaces.find("", meta.namespace_());
  return ns == nullptr ? std::nullopt : named_by(ns->metadata().labels(), meta.namespace_());
}

}  // namespace

std::optional<WaypointName> waypoint_of(const crd::core::Service& service, const Store& store) {
  return named_for(service.metadata(), store);
}

std::optional<WaypointName> waypoint_of(const crd::networking::ServiceEntry& entry,
                                        const Store& store) {
  return named_for(entry.metadata(), store);
}

}  // namespace weft::compile
