#include "agent/compile/waypoint_guards.h"

#include <vector>

namespace weft::compile {

namespace {

using crd::policy::TargetReference;
using crd::security::AuthorizationPolicy;
using crd::security::RequestAuthentication;

constexpr const char* kDryRunAnnotation = "istio.io/dry-run";

template <class Spec>
std::vector<const TargetReference*> targets_of(const Spec& spec) {
  std::vector<const TargetReference*> targets;
  if (spec.has_targetref()) targets.push_back(&spec.targetref());
  for (const TargetReference& target : spec.targetrefs()) targets.push_back(&target);
  return targets;
}

// What is only written down, and decides nothing.
bool decides(const AuthorizationPolicy& policy) {
  const auto dry_run = policy.metadata().annotations().find(kDryRunAnnotation);
  const bool is_dry = dry_run != policy.metadata().annotations().end() && dry_run->second == "true";
  return policy.spec().action() != crd::security::AuthorizationPolicySpec::AUDIT && !is_dry;
}

bool decides(const RequestAuthentication&) { return true; }

// What is asked for: one object, behind one waypoint.
struct Guarded {
  std::string_view kind;  // "Service", "ServiceEntry"
  const crd::core::ObjectMeta& meta;
  const WaypointName& waypoint;
  std::string_view gateway_class;
  const std::string& root_namespace;
};

bool is_for(const TargetReference& target, const std::string& ns, const Guarded& what) {
  if (target.kind() == "Gateway") {
    return ns == what.waypoint.ns && target.name() == what.waypoint.name;
  }
  if (target.kind() == "GatewayClass") {
    return ns == what.root_namespace && target.name() == what.gateway_class;
  }
  return target.kind() == what.kind && ns == what.meta.namespace_() &&
         target.name() == what.meta.name();
}

template <class Policy>
std::string guard_among(const Table<Policy>& table, const std::string& ns, std::string_view kind,
                        const Guarded& what) {
  for (const auto& [name, policy] : table.in(ns)) {
    if (!decides(*policy)) continue;
    for (const TargetReference* target : targets_of(policy->spec())) {
      if (is_for(*target, ns, what)) return std::string(kind) + " " + ns + "/" + name;
    }
  }
  return "";
}

std::string refusal_for(std::string_view kind, const crd::core::ObjectMeta& meta,
                        const WaypointName& waypoint, const Store& store,
                        const MeshConfig& config) {
  const auto* gateway = store.gateways.find(waypoint.ns, waypoint.name);
  const Guarded what{kind, meta, waypoint,
                     gateway == nullptr ? std::string_view()
                                        : std::string_view(gateway->spec().gatewayclassname()),
                     config.root_namespace};
  if (gateway != nullptr && !is_let_in(*gateway, meta.namespace_(), store)) {
    return "the waypoint " + waypoint.to_string() + " does not serve namespace " +
           meta.namespace_() + ": allowedRoutes of its Gateway's listener has to let it in";
  }
  for (const std::string* ns : {&meta.namespace_(), &waypoint.ns, &config.root_namespace}) {
    std::string guard = guard_among(store.policies, *ns, "AuthorizationPolicy", what);
    if (guard.empty()) {
      guard = guard_among(store.request_authentications, *ns, "RequestAuthentication", what);
    }
    if (!guard.empty()) {
      return guard + " guards it, and this version's waypoints do not enforce that yet";
    }
  }
  return "";
}

template <class Object>
std::optional<model::Waypoint> guarded(std::string_view kind, const Object& object,
                                       const Store& store, const MeshConfig& config) {
  auto waypoint = waypoint_address(object, store, config);
  const auto name = waypoint_of(object, store);
  if (waypoint && !refusal_for(kind, object.metadata(), *name, store, config).empty()) {
    waypoint->hostname = "guarded." + name->name + "." + name->ns + ".invalid";
  }
  return waypoint;
}

}  // namespace

std::optional<model::Waypoint> guarded_waypoint(const crd::core::Pod& pod, const Store& store,
                                                const MeshConfig& config) {
  return guarded("Pod", pod, store, config);
}

std::optional<model::Waypoint> guarded_waypoint(const crd::networking::WorkloadEntry& entry,
                                                const Store& store, const MeshConfig& config) {
  return guarded("WorkloadEntry", entry, store, config);
}

std::string refusal_of(const crd::core::Service& service, const WaypointName& waypoint,
                       const Store& store, const MeshConfig& config) {
  return refusal_for("Service", service.metadata(), waypoint, store, config);
}

std::string refusal_of(const crd::networking::ServiceEntry& entry, const WaypointName& waypoint,
                       const Store& store, const MeshConfig& config) {
  return refusal_for("ServiceEntry", entry.metadata(), waypoint, store, config);
}

bool is_waypoint_guard(const objects::Object& object) {
  if (const auto* policy = object.as<AuthorizationPolicy>()) {
    return !targets_of(policy->spec()).empty();
  }
  const auto* authentication = object.as<RequestAuthentication>();
  return authentication != nullptr && !targets_of(authentication->spec()).empty();
}

}  // namespace weft::compile
