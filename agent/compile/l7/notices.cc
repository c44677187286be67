#include "agent/compile/l7/notices.h"

#include "agent/compile/l7/backend.h"
#include "agent/compile/l7/gateway_http.h"
#include "agent/compile/l7/gateway_parents.h"
#include "agent/compile/l7/hosts.h"
#include "agent/compile/l7/http_match.h"
#include "agent/compile/l7/virtual_services.h"
#include "agent/compile/service.h"
#include "agent/compile/service_entry.h"
#include "agent/compile/waypoint_guards.h"

#include <algorithm>

namespace weft::l7 {

namespace {

namespace net = crd::networking;
namespace api = crd::gateway_api;
using Notices = std::vector<std::string>;

struct About {
  const compile::Store& store;
  const compile::MeshConfig& config;
  std::string ns;  // the object's
  Notices notices;

  // The services that a rule's host means; of a wildcard, all of them.
  std::vector<Backend> services(const std::string& pattern) const {
    std::vector<Backend> found;
    if (!is_wildcard(pattern)) {
      if (auto one = find_backend(pattern, ns, store, config)) found.push_back(std::move(*one));
      return found;
    }
    for (const auto& [other, services] : store.services.all()) {
      for (const auto& [name, service] : services) {
        const std::string host = compile::hostname_of(*service, config);
        if (!host_matches(pattern, host)) continue;
        if (auto one = backend_of({other, host}, store, config)) found.push_back(std::move(*one));
      }
    }
    return found;
  }

  // Says so where nobody who could apply it stands before any of these.
  void need_waypoint(const std::vector<Backend>& services) {
    if (services.empty()) return;
    const bool has = std::ranges::any_of(
        services, [&](const Backend& one) { return waypoint_of(one, store).has_value(); });
    if (has) return;
    notices.push_back("has no effect: " + services.front().hostname +
                      " has no waypoint; `weft waypoint apply -n " + services.front().ns +
                      " --enroll-namespace` makes one for its namespace");
  }
};

bool names_clients(const net::VirtualService& object) {
  const auto any = [](const auto& rules) {
    return std::ranges::any_of(rules, [](const auto& rule) {
      return std::ranges::any_of(rule.match(), [](const auto& match) {
        return !match.sourcelabels().empty() || !match.sourcenamespace().empty();
      });
    });
  };
  return any(object.spec().http()) || any(object.spec().tcp()) || any(object.spec().tls());
}

void about_faults(const net::VirtualService& object, Notices& notices) {
  for (const auto& rule : object.spec().http()) {
    if (rule.fault().abort().error_case() == net::FaultAbort::kHttp2Error) {
      notices.emplace_back("fault.abort.http2Error is not supported: the fault is not injected");
    }
    if (rule.fault().delay().delay_case() == net::FaultDelay::kExponentialDelay) {
      notices.emplace_back("fault.delay.exponentialDelay is not supported: there is no delay");
    }
  }
}

void about_virtual_service(const net::VirtualService& object, About& about) {
  if (!object.spec().hosts().empty() && !is_for_mesh(object.spec().gateways())) {
    about.notices.emplace_back("is accepted and not yet honoured: it is only for gateways");
    return;
  }
  std::vector<Backend> services;
  for (const std::string& host : mesh_hosts_of(object, about.config.cluster_domain)) {
    for (Backend& one : about.services(host)) services.push_back(std::move(one));
  }
  about.need_waypoint(services);
  const bool in_reach = std::ranges::any_of(services, [&](const Backend& one) {
    const auto waypoint = waypoint_of(one, about.store);
    return !waypoint || one.ns == about.ns || waypoint->ns == about.ns;
  });
  if (!services.empty() && !in_reach) {
    about.notices.push_back(
        "has no effect: a waypoint takes routes of its own namespace and of the service's, " +
        services.front().ns + ", not of " + about.ns);
  }
  if (names_clients(object)) {
    about.notices.emplace_back(
        "matches by sourceLabels or sourceNamespace never match: a waypoint does not tell clients "
        "apart by their labels");
  }
  about_faults(object, about.notices);
}

void about_destination_rule(const net::DestinationRule& object, About& about) {
  about.need_waypoint(
      about.services(full_host(object.spec().host(), about.ns, about.config.cluster_domain)));
}

std::optional<Backend> parent_of(const api::ParentRef& parent, const About& about) {
  const std::string& ns = parent.namespace_().empty() ? about.ns : parent.namespace_();
  if (parent.kind() == "Service") {
    return backend_of({ns, full_host(parent.name(), ns, about.config.cluster_domain)}, about.store,
                      about.config);
  }
  const auto* entry = about.store.service_entries.find(ns, parent.name());
  const auto hosts = entry == nullptr ? Notices() : compile::hosts_of(*entry);
  if (hosts.empty()) return std::nullopt;
  return backend_of({ns, hosts.front()}, about.store, about.config);
}

void about_refs(const objects::Object& route, About& about) {
  const objects::Key key = route.key();
  const RouteObject object{key.kind, key.ns, key.name};
  Resolver resolver(about.store, about.config, {about.ns, {}});
  const auto check = [&](const api::BackendRef& ref) {
    if (!resolve_ref(ref, object, resolver).hostname().empty()) return;
    const std::string& ns = ref.namespace_().empty() ? about.ns : ref.namespace_();
    const bool granted =
        ns == about.ns || is_granted(object, ref.group(), ref.has_kind() ? ref.kind() : "Service",
                                     ns, ref.name(), about.store);
    about.notices.push_back(
        "backendRef " + ns + "/" + ref.name() + ":" + std::to_string(ref.port()) +
        (granted ? " is not found" : " is of another namespace without a ReferenceGrant there") +
        ": its share of the requests gets 500");
  };
  const auto check_http = [&](const api::HttpRouteSpec& spec) {
    for (const auto& rule : spec.rules()) {
      for (const auto& ref : rule.backendrefs()) check(ref);
    }
  };
  const auto check_connections = [&](const api::ConnectionRouteSpec& spec) {
    for (const auto& rule : spec.rules()) {
      for (const auto& ref : rule.backendrefs()) check(ref);
    }
  };
  if (const auto* http = route.as<api::HTTPRoute>()) check_http(http->spec());
  if (const auto* grpc = route.as<api::GRPCRoute>()) check_http(grpc->spec());
  if (const auto* tcp = route.as<api::TCPRoute>()) check_connections(tcp->spec());
  if (const auto* tls = route.as<api::TLSRoute>()) check_connections(tls->spec());
}

void about_route(const objects::Object& route, About& about) {
  bool of_mesh = false;
  std::vector<Backend> services;
  for (const auto& parent : parents_of(route)) {
    if (parent_key(parent, about.ns).empty()) continue;
    of_mesh = true;
    auto service = parent_of(parent, about);
    if (!service) {
      about.notices.push_back("its parent " + parent_key(parent, about.ns) + " does not exist");
      continue;
    }
    if (service->ns != about.ns) {
      const auto waypoint = waypoint_of(*service, about.store);
      if (waypoint && waypoint->ns != about.ns) {
        about.notices.push_back(
            "has no effect: a route for the clients of one namespace is not supported; it must be "
            "in " +
            service->ns + ", with its parent");
      }
    }
    services.push_back(std::move(*service));
  }
  if (!of_mesh) {
    about.notices.emplace_back("is accepted and not yet honoured: its parents are gateways");
    return;
  }
  about.need_waypoint(services);
  about_refs(route, about);
}

}  // namespace

bool is_l7(const objects::Object& object) {
  return object.as<net::VirtualService>() != nullptr ||
         object.as<net::DestinationRule>() != nullptr || RoutesByParent::is_route(object.key()) ||
         object.as<api::ReferenceGrant>() != nullptr ||
         (object.as<crd::security::RequestAuthentication>() != nullptr &&
          compile::is_waypoint_guard(object));
}

std::vector<std::string> notices_about(const objects::Object& object, const compile::Store& store,
                                       const compile::MeshConfig& config) {
  About about{store, config, object.metadata().namespace_(), {}};
  if (const auto* routes = object.as<net::VirtualService>()) {
    about_virtual_service(*routes, about);
  } else if (const auto* rule = object.as<net::DestinationRule>()) {
    about_destination_rule(*rule, about);
  } else if (RoutesByParent::is_route(object.key())) {
    about_route(object, about);
  } else if (compile::is_waypoint_guard(object)) {
    about.notices.emplace_back(
        "waypoints cannot be asked to enforce it: requests to what it is for are refused");
  }
  return std::move(about.notices);
}

}  // namespace weft::l7
