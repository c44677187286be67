#include "agent/compile/l7/virtual_services.h"

#include "agent/compile/l7/hosts.h"
#include "agent/compile/l7/http_match.h"
#include "agent/compile/l7/http_route.h"
#include "agent/compile/l7/order.h"

#include <algorithm>

namespace weft::l7 {

namespace {

using crd::networking::VirtualService;

bool is_seen(const VirtualService& object, const std::string& viewer,
             const compile::MeshConfig& config) {
  const google::protobuf::RepeatedPtrField<std::string> everybody;
  return is_exported_to(
      object.spec().exportto(),
      config.written == nullptr ? everybody : config.written->defaultvirtualserviceexportto(),
      object.metadata().namespace_(), viewer);
}

bool names(const VirtualService& object, const std::string& pattern,
           const compile::MeshConfig& config) {
  return mesh_hosts_of(object, config.cluster_domain).contains(pattern);
}

// How exactly it names the host: its pattern.
std::string pattern_in(const VirtualService& object, const std::string& host,
                       const compile::MeshConfig& config) {
  std::string best;
  for (const std::string& pattern : mesh_hosts_of(object, config.cluster_domain)) {
    if (!host_matches(pattern, host)) continue;
    if (best.empty() || is_more_specific(pattern, best)) best = pattern;
  }
  return best;
}

}  // namespace

std::set<std::string> mesh_hosts_of(const VirtualService& object,
                                    const std::string& cluster_domain) {
  std::set<std::string> hosts;
  if (!is_for_mesh(object.spec().gateways())) return hosts;
  for (const std::string& host : object.spec().hosts()) {
    hosts.insert(full_host(host, object.metadata().namespace_(), cluster_domain));
  }
  return hosts;
}

VirtualServices virtual_services_for(const Backend& service, const compile::WaypointName& waypoint,
                                     const compile::Store& store,
                                     const compile::MeshConfig& config) {
  VirtualServices found;
  std::string best;
  for (const std::string& ns : std::set<std::string>{service.ns, waypoint.ns}) {
    for (const std::string& name : store.virtual_services_by_host.matching(ns, service.hostname)) {
      const VirtualService* object = store.virtual_services.find(ns, name);
      if (object == nullptr || !is_seen(*object, waypoint.ns, config)) continue;
      found.push_back(object);
      const std::string pattern = pattern_in(*object, service.hostname, config);
      if (best.empty() || is_more_specific(pattern, best)) best = pattern;
    }
  }
  std::erase_if(found, [&](const auto* object) { return !names(*object, best, config); });
  std::ranges::sort(found, [](const auto* one, const auto* other) {
    return is_older(one->metadata(), other->metadata());
  });
  return found;
}

void fill_http_routes(const VirtualServices& objects, const Backend::Port& port, Resolver& resolver,
                      weft::route::Port& out) {
  for (const VirtualService* object : objects) {
    const auto& meta = object->metadata();
    const Scope scope{meta.namespace_(), port.number,
                      "VirtualService " + meta.namespace_() + "/" + meta.name()};
    for (const Rule& rule : rules_of(*object, resolver)) {
      auto compiled = compile_rule(rule, scope, resolver);
      if (!compiled) continue;
      *out.add_http() = std::move(compiled->route);
      if (compiled->catch_all) return;
    }
  }
}

}  // namespace weft::l7
