#pragma once

#include "agent/compile/l7/host_index.h"
#include "agent/compile/l7/routes_by_parent.h"
#include "agent/compile/selector_index.h"
#include "agent/objects/object.h"
#include "proto/crd/core.pb.h"
#include "proto/crd/destination_rule.pb.h"
#include "proto/crd/gateway_api.pb.h"
#include "proto/crd/networking.pb.h"
#include "proto/crd/security.pb.h"
#include "proto/crd/telemetry.pb.h"
#include "proto/crd/virtual_service.pb.h"

#include <google/protobuf/map.h>

#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>

namespace weft::compile {

using Labels = google::protobuf::Map<std::string, std::string>;

// Whether an object with these labels has all that are wanted. Wanting nothing selects everything.
bool selects(const Labels& wanted, const Labels& labels);
// The value of a label or annotation; empty where it is not there.
std::string_view value_of(const Labels& labels, const std::string& key);

// The objects of one kind, by namespace and name.
template <class T>
class Table {
 public:
  using InNamespace = std::map<std::string, std::shared_ptr<const T>>;

  const T* find(const std::string& ns, const std::string& name) const {
    const InNamespace& objects = in(ns);
    const auto found = objects.find(name);
    return found == objects.end() ? nullptr : found->second.get();
  }
  const InNamespace& in(const std::string& ns) const {
    static const InNamespace none;
    const auto found = by_namespace_.find(ns);
    return found == by_namespace_.end() ? none : found->second;
  }
  const std::map<std::string, InNamespace>& all() const { return by_namespace_; }

  void put(const objects::Key& key, const std::shared_ptr<const objects::Object>& object) {
    by_namespace_[key.ns][key.name] = std::shared_ptr<const T>(object, object->as<T>());
  }
  void erase(const objects::Key& key) {
    const auto found = by_namespace_.find(key.ns);
    if (found == by_namespace_.end()) return;
    found->second.erase(key.name);
    if (found->second.empty()) by_namespace_.erase(found);
  }

 private:
  std::map<std::string, InNamespace> by_namespace_;
};

// What the compiler reads of the cluster.
struct Store {
  Table<crd::core::Namespace> namespaces;  // under the namespace ""
  Table<crd::core::Pod> pods;
  Table<crd::core::Service> services;
  Table<crd::core::Node> nodes;  // under the namespace ""
  Table<crd::core::EndpointSlice> slices;
  Table<crd::core::ConfigMap> config_maps;  // those that may hold a MeshConfig only
  Table<crd::networking::ServiceEntry> service_entries;
  // Names of the ServiceEntries of a namespace that have a host, by "namespace/host".
  std::map<std::string, std::set<std::string>> entries_by_host;
  std::map<std::string, std::set<std::string>> namespaces_by_host;  // of ServiceEntries, by host
  Table<crd::networking::WorkloadEntry> workload_entries;
  Table<crd::networking::Sidecar> sidecars;
  Table<crd::networking::VirtualService> virtual_services;
  Table<crd::networking::DestinationRule> destination_rules;
  Table<crd::gateway_api::Gateway> gateways;
  Table<crd::telemetry::Telemetry> telemetries;
  Table<crd::security::AuthorizationPolicy> policies;
  Table<crd::security::PeerAuthentication> peers;
  Table<crd::security::RequestAuthentication> request_authentications;
  Table<crd::gateway_api::ReferenceGrant> reference_grants;
  l7::RoutesByParent gateway_routes;
  l7::HostIndex virtual_services_by_host;  // those for the mesh, by whole host names
  l7::HostIndex destination_rules_by_host;
  std::string cluster_domain = "cluster.local";  // set before the first put()
  SelectorIndex services_by_label;
  SelectorIndex policies_by_label;

  // Null: removed. Kinds that are not kept here are ignored.
  void put(const objects::Key& key, const std::shared_ptr<const objects::Object>& object);

 private:
  void index_hosts(const objects::Key& key, bool add);
  void index_selector(const objects::Key& key);
  void index_rule(const objects::Key& key);
};

}  // namespace weft::compile
