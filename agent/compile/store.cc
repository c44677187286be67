#include "agent/compile/store.h"

#include "agent/compile/l7/hosts.h"
#include "agent/compile/l7/virtual_services.h"
#include "agent/compile/service_entry.h"
#include "agent/objects/mesh_config.h"

namespace weft::compile {

bool selects(const Labels& wanted, const Labels& labels) {
  for (const auto& [key, value] : wanted) {
    const auto found = labels.find(key);
    if (found == labels.end() || found->second != value) return false;
  }
  return true;
}

std::string_view value_of(const Labels& labels, const std::string& key) {
  const auto found = labels.find(key);
  return found == labels.end() ? std::string_view() : std::string_view(found->second);
}

namespace {

template <class T>
bool put_into(Table<T>& table, std::string_view kind, const objects::Key& key,
              const std::shared_ptr<const objects::Object>& object) {
  if (key.kind != kind) return false;
  if (object != nullptr && object->as<T>() != nullptr) {
    table.put(key, object);
  } else {
    table.erase(key);
  }
  return true;
}

}  // namespace

void Store::index_hosts(const objects::Key& key, bool add) {
  const auto* entry = service_entries.find(key.ns, key.name);
  if (entry == nullptr) return;
  for (const std::string& host : hosts_of(*entry)) {
    std::set<std::string>& names = entries_by_host[key.ns + "/" + host];
    if (add) {
      names.insert(key.name);
    } else {
      names.erase(key.name);
    }
    if (!names.empty()) {
      namespaces_by_host[host].insert(key.ns);
      continue;
    }
    entries_by_host.erase(key.ns + "/" + host);
    std::set<std::string>& left = namespaces_by_host[host];
    left.erase(key.ns);
    if (left.empty()) namespaces_by_host.erase(host);
  }
}

void Store::index_selector(const objects::Key& key) {
  if (key.kind == "Service") {
    const auto* service = services.find(key.ns, key.name);
    if (service == nullptr) return services_by_label.erase(key.ns, key.name);
    services_by_label.put(key.ns, key.name, service->spec().selector());
  } else if (key.kind == "AuthorizationPolicy") {
    const auto* policy = policies.find(key.ns, key.name);
    if (policy == nullptr) return policies_by_label.erase(key.ns, key.name);
    policies_by_label.put(key.ns, key.name, policy->spec().selector().matchlabels());
  }
}

void Store::index_rule(const objects::Key& key) {
  if (key.kind == "VirtualService") {
    const auto* object = virtual_services.find(key.ns, key.name);
    virtual_services_by_host.put(
        key.ns, key.name,
        object == nullptr ? std::set<std::string>() : l7::mesh_hosts_of(*object, cluster_domain));
  } else if (key.kind == "DestinationRule") {
    const auto* object = destination_rules.find(key.ns, key.name);
    std::set<std::string> hosts;
    if (object != nullptr) {
      hosts.insert(l7::full_host(object->spec().host(), key.ns, cluster_domain));
    }
    destination_rules_by_host.put(key.ns, key.name, hosts);
  }
}

void Store::put(const objects::Key& key, const std::shared_ptr<const objects::Object>& object) {
  if (key.kind == "ConfigMap" && !objects::is_mesh_config_map(key.name)) return;
  if (key.kind == "ServiceEntry") {
    index_hosts(key, false);
    put_into(service_entries, "ServiceEntry", key, object);
    return index_hosts(key, true);
  }
  put_into(pods, "Pod", key, object) || put_into(services, "Service", key, object) ||
      put_into(namespaces, "Namespace", key, object) || put_into(nodes, "Node", key, object) ||
      put_into(slices, "EndpointSlice", key, object) ||
      put_into(config_maps, "ConfigMap", key, object) ||
      put_into(workload_entries, "WorkloadEntry", key, object) ||
      put_into(sidecars, "Sidecar", key, object) ||
      put_into(virtual_services, "VirtualService", key, object) ||
      put_into(destination_rules, "DestinationRule", key, object) ||
      put_into(gateways, "Gateway", key, object) ||
      put_into(telemetries, "Telemetry", key, object) ||
      put_into(policies, "AuthorizationPolicy", key, object) ||
      put_into(peers, "PeerAuthentication", key, object) ||
      put_into(request_authentications, "RequestAuthentication", key, object) ||
      put_into(reference_grants, "ReferenceGrant", key, object);
  if (l7::RoutesByParent::is_route(key)) gateway_routes.put(key, object);
  index_selector(key);
  index_rule(key);
}

}  // namespace weft::compile
