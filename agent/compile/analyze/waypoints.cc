// Whether what is to pass a waypoint can: the waypoint is there, and its endpoints let it in.

#include "agent/compile/analyze/checks.h"
#include "agent/compile/analyze/judge.h"
#include "agent/compile/analyze/policies_over.h"
#include "agent/compile/service.h"
#include "agent/compile/waypoint_binding.h"

#include <algorithm>

namespace weft::analyze {

namespace {

using compile::WaypointName;

std::string remedy_for(const WaypointName& waypoint) {
  return "`weft waypoint apply -n " + waypoint.ns + " --name " + waypoint.name + "` makes it";
}

// Those that an object's own labels name.
std::optional<WaypointName> named_in(const crd::core::ObjectMeta& meta, const std::string& own_ns) {
  const std::string_view name = compile::value_of(meta.labels(), compile::kUseWaypointLabel);
  if (name.empty() || name == "none") return std::nullopt;
  const std::string_view ns = compile::value_of(meta.labels(), compile::kUseWaypointNamespaceLabel);
  return WaypointName{ns.empty() ? own_ns : std::string(ns), std::string(name)};
}

// By which ALLOW policies of an endpoint the waypoint is shut out; empty: by none.
std::string shut_out_by(const Cluster& cluster, const Shape& shape, const SpiffeId& waypoint,
                        uint16_t port) {
  const std::vector<model::Policy> policies = policies_over(cluster, shape);
  std::string names;
  for (const model::Policy& policy : policies) {
    if (policy.action != model::Policy::Action::kAllow || policy.dry_run) continue;
    const Call call{.source = waypoint, .source_ip = {}, .destination_ip = {}, .port = port};
    if (matches(policy, call).answer != Answer::kNo) return "";
    names += (names.empty() ? "" : ", ") + policy.key();
  }
  return names;
}

void check_endpoints(const Cluster& cluster, const crd::core::Service& service,
                     const WaypointName& name, Findings& findings) {
  const SpiffeId waypoint{cluster.config().trust_domain, name.ns, name.name};
  const auto& meta = service.metadata();
  for (const Shape* shape : cluster.matching(meta.namespace_(), service.spec().selector())) {
    for (const model::PortPair& pair : compile::ports_on(service, shape->pod)) {
      const std::string by =
          shut_out_by(cluster, *shape, waypoint, static_cast<uint16_t>(pair.target));
      if (by.empty()) continue;
      findings.add(kForgetsWaypoint, {"Service", meta.namespace_(), meta.name()},
                   "its endpoints refuse its waypoint " + name.to_string() +
                       ": AuthorizationPolicy " + by + " allows others only; add the principal " +
                       waypoint.principal());
      return;
    }
  }
}

}  // namespace

void check_waypoints_exist(const Cluster& cluster, Findings& findings) {
  for (const ObjectPtr& object : cluster.objects()) {
    const objects::Key key = object->key();
    const bool is_namespace = key.kind == "Namespace";
    const auto waypoint =
        named_in(object->metadata(), is_namespace ? key.name : object->metadata().namespace_());
    if (!waypoint) continue;
    const auto* gateway = cluster.store().gateways.find(waypoint->ns, waypoint->name);
    if (gateway != nullptr && compile::is_waypoint(*gateway)) continue;
    if (gateway == nullptr && cluster.has("Gateway", waypoint->ns, waypoint->name)) continue;
    findings.add(
        kMissing, key,
        std::string(compile::kUseWaypointLabel) + ": " +
            (gateway == nullptr ? "there is no waypoint " : "no waypoint is the Gateway ") +
            waypoint->to_string() + ", so what is to pass it is refused; " + remedy_for(*waypoint));
  }
}

void check_policies_admit_waypoints(const Cluster& cluster, Findings& findings) {
  for (const auto& [ns, services] : cluster.store().services.all()) {
    for (const auto& [name, service] : services) {
      if (compile::is_alias(*service) || service->spec().selector().empty()) continue;
      const auto waypoint = compile::waypoint_of(*service, cluster.store());
      if (waypoint) check_endpoints(cluster, *service, *waypoint, findings);
    }
  }
}

}  // namespace weft::analyze
