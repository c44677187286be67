#include "agent/compile/l7/gateway_http.h"
#include "agent/compile/l7/hosts.h"
#include "agent/compile/service.h"
#include "agent/compile/service_entry.h"

#include <algorithm>

namespace weft::l7 {

namespace api = crd::gateway_api;

namespace {

constexpr const char* kIstio = "networking.istio.io";
constexpr const char* kGatewayApi = "gateway.networking.k8s.io";

std::string kind_of(const api::BackendRef& ref) {
  return ref.has_kind() ? ref.kind() : std::string("Service");
}

// The host that is meant, which need not exist; empty: a kind that is not known.
std::string host_of(const api::BackendRef& ref, const std::string& ns, const Resolver& resolver) {
  const std::string kind = kind_of(ref);
  if (kind == "Service" && ref.group().empty()) {
    return full_host(ref.name(), ns, resolver.config().cluster_domain);
  }
  if (ref.group() != kIstio) return {};
  if (kind == "Hostname") return full_host(ref.name(), ns, resolver.config().cluster_domain);
  if (kind != "ServiceEntry") return {};
  const auto* entry = resolver.store().service_entries.find(ns, ref.name());
  const auto hosts = entry == nullptr ? std::vector<std::string>() : compile::hosts_of(*entry);
  return hosts.empty() ? std::string() : hosts.front();
}

}  // namespace

bool is_granted(const RouteObject& route, const std::string& group, const std::string& kind,
                const std::string& ns, const std::string& name, const compile::Store& store) {
  for (const auto& [own, grant] : store.reference_grants.in(ns)) {
    const bool from = std::ranges::any_of(grant->spec().from(), [&](const api::GrantedFrom& one) {
      return one.group() == kGatewayApi && one.kind() == route.kind && one.namespace_() == route.ns;
    });
    const bool to = std::ranges::any_of(grant->spec().to(), [&](const api::GrantedTo& one) {
      return one.group() == group && one.kind() == kind &&
             (one.name().empty() || one.name() == name);
    });
    if (from && to) return true;
  }
  return false;
}

weft::route::Destination resolve_ref(const api::BackendRef& ref, const RouteObject& route,
                                     Resolver& resolver) {
  const std::string& ns = ref.namespace_().empty() ? route.ns : ref.namespace_();
  if (ns != route.ns) {
    resolver.note({"ReferenceGrant", ns, ""});
    if (!is_granted(route, ref.group(), kind_of(ref), ns, ref.name(), resolver.store())) return {};
  }
  const std::string host = host_of(ref, ns, resolver);
  if (host.empty() || ref.port() == 0) return {};
  auto destination = resolver.resolve(host, {}, ref.port(), ns, ref.port());
  const auto backend = backend_of({destination.namespace_(), destination.hostname()},
                                  resolver.store(), resolver.config());
  const bool has_port =
      backend && std::ranges::any_of(backend->ports, [&](const Backend::Port& port) {
        return port.number == ref.port();
      });
  if (!has_port) return {};
  return destination;
}

}  // namespace weft::l7
