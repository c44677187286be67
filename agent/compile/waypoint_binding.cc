#include "agent/compile/waypoint_binding.h"

#include <algorithm>

namespace weft::compile {

namespace {

using crd::gateway_api::Gateway;

constexpr std::string_view kNoWaypoint = "none";

enum class Kind { kService, kWorkload };

// What these labels name; `ns` is the namespace of who bears them.
std::optional<WaypointName> named_by(const Labels& labels, const std::string& ns) {
  const std::string_view name = value_of(labels, kUseWaypointLabel);
  if (name.empty() || name == kNoWaypoint) return std::nullopt;
  const std::string_view other = value_of(labels, kUseWaypointNamespaceLabel);
  return WaypointName{other.empty() ? ns : std::string(other), std::string(name)};
}

bool has_own_label(const crd::core::ObjectMeta& meta) {
  return !value_of(meta.labels(), kUseWaypointLabel).empty();
}

std::optional<WaypointName> named_for(const crd::core::ObjectMeta& meta, const Store& store) {
  if (has_own_label(meta)) return named_by(meta.labels(), meta.namespace_());
  const auto* ns = store.namespaces.find("", meta.namespace_());
  return ns == nullptr ? std::nullopt : named_by(ns->metadata().labels(), meta.namespace_());
}

// Made for a waypoint itself.
bool is_of_waypoint(const crd::core::ObjectMeta& meta, const Store& store) {
  const std::string_view name = value_of(meta.labels(), kGatewayNameLabel);
  if (name.empty()) return false;
  const Gateway* gateway = store.gateways.find(meta.namespace_(), std::string(name));
  return gateway != nullptr && is_waypoint(*gateway);
}

// metav1.LabelSelector; an operator that is none of the four selects nothing.
bool is_selected(const crd::mesh::LabelSelector& selector, const Labels& labels) {
  if (!selects(selector.matchlabels(), labels)) return false;
  return std::ranges::all_of(selector.matchexpressions(), [&](const auto& one) {
    const auto label = labels.find(one.key());
    const bool is_there = label != labels.end();
    const bool is_named =
        is_there && std::ranges::find(one.values(), label->second) != one.values().end();
    if (one.operator_() == "In") return is_named;
    if (one.operator_() == "NotIn") return !is_named;
    if (one.operator_() == "Exists") return is_there;
    return one.operator_() == "DoesNotExist" && !is_there;
  });
}

std::optional<WaypointName> bound(const crd::core::ObjectMeta& meta, Kind kind,
                                  const Store& store) {
  auto name = named_for(meta, store);
  if (!name || is_of_waypoint(meta, store)) return std::nullopt;
  const Gateway* gateway = store.gateways.find(name->ns, name->name);
  // One that is not there is for what it would be for without a label: services. A workload that
  // asks for it by its own label is not let go without.
  if (gateway == nullptr) {
    return kind == Kind::kService || has_own_label(meta) ? name : std::nullopt;
  }
  const WaypointFor what = waypoint_for(*gateway);
  return (kind == Kind::kService ? what.services : what.workloads) ? name : std::nullopt;
}

}  // namespace

bool is_waypoint(const Gateway& gateway) {
  return gateway.spec().gatewayclassname() == kWaypointClass ||
         gateway.spec().gatewayclassname() == kIstioWaypointClass;
}

WaypointFor waypoint_for(const Gateway& gateway) {
  const std::string_view text = value_of(gateway.metadata().labels(), kWaypointForLabel);
  if (text == "all") return {true, true};
  if (text == "workload") return {false, true};
  return {text != kNoWaypoint, false};
}

std::optional<WaypointName> waypoint_of(const crd::core::Service& service, const Store& store) {
  return bound(service.metadata(), Kind::kService, store);
}

std::optional<WaypointName> waypoint_of(const crd::networking::ServiceEntry& entry,
                                        const Store& store) {
  return bound(entry.metadata(), Kind::kService, store);
}

std::optional<WaypointName> waypoint_of(const crd::core::Pod& pod, const Store& store) {
  return bound(pod.metadata(), Kind::kWorkload, store);
}

std::optional<WaypointName> waypoint_of(const crd::networking::WorkloadEntry& entry,
                                        const Store& store) {
  return bound(entry.metadata(), Kind::kWorkload, store);
}

bool is_let_in(const Gateway& gateway, const std::string& ns, const Store& store) {
  if (ns == gateway.metadata().namespace_()) return true;
  const auto* other = store.namespaces.find("", ns);
  for (const auto& listener : gateway.spec().listeners()) {
    const auto& namespaces = listener.allowedroutes().namespaces();
    if (namespaces.from() == "All") return true;
    if (namespaces.from() != "Selector" || other == nullptr) continue;
    if (is_selected(namespaces.selector(), other->metadata().labels())) return true;
  }
  return false;
}

bool names_waypoint(const crd::core::ObjectMeta& meta, const Store& store,
                    const WaypointName& waypoint) {
  return named_for(meta, store) == waypoint;
}

}  // namespace weft::compile
