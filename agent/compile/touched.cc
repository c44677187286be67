#include "agent/compile/touched.h"

#include "agent/compile/authorization_policy.h"
#include "agent/compile/endpoint_slice.h"
#include "agent/compile/l7/hosts.h"
#include "agent/compile/membership.h"
#include "agent/compile/outbound_policy.h"
#include "agent/compile/service.h"
#include "agent/compile/service_entry.h"
#include "agent/compile/waypoint_binding.h"
#include "agent/compile/waypoint_guards.h"

#include <algorithm>

namespace weft::compile {

namespace {

using crd::networking::ServiceEntry;
using crd::networking::WorkloadEntry;

// Every name of a namespace for which `wanted` is true.
template <class T, class Wanted>
void add_in(const Table<T>& table, const std::string& ns, Touched::Names& names, Wanted wanted) {
  for (const auto& [name, object] : table.in(ns)) {
    if (wanted(*object)) names.emplace(ns, name);
  }
}

constexpr auto kEach = [](const auto&) { return true; };

template <class T>
void add_all(const Table<T>& table, Touched::Names& names) {
  for (const auto& [ns, objects] : table.all()) add_in(table, ns, names, kEach);
}

// The workloads of a namespace with labels that are wanted.
template <class Wanted>
void add_workloads(const std::string& ns, const Store& store, Touched& touched, Wanted wanted) {
  add_in(store.pods, ns, touched.pods,
         [&](const crd::core::Pod& pod) { return wanted(pod.metadata().labels()); });
  add_in(store.workload_entries, ns, touched.workload_entries,
         [&](const WorkloadEntry& entry) { return wanted(labels_of(entry)); });
}

std::set<std::string> namespaces_of_workloads(const Store& store) {
  std::set<std::string> names;
  for (const auto& [ns, pods] : store.pods.all()) names.insert(ns);
  for (const auto& [ns, entries] : store.workload_entries.all()) names.insert(ns);
  return names;
}

void add_policy(const crd::security::AuthorizationPolicy& policy, const Store& store,
                const MeshConfig& config, Touched& touched) {
  if (!is_by_selector(policy)) return;
  const std::string& own = policy.metadata().namespace_();
  const auto add = [&](const std::string& ns) {
    add_workloads(ns, store, touched,
                  [&](const Labels& labels) { return applies_to(policy, ns, labels, config); });
  };
  if (own != config.root_namespace) return add(own);
  for (const std::string& ns : namespaces_of_workloads(store)) add(ns);
}

void add_peer(const crd::security::PeerAuthentication& peer, const Store& store,
              const MeshConfig& config, Touched& touched) {
  const std::string& own = peer.metadata().namespace_();
  const Labels& selector = peer.spec().selector().matchlabels();
  if (!selector.empty()) {
    add_workloads(own, store, touched,
                  [&](const Labels& labels) { return selects(selector, labels); });
    return;
  }
  const auto add_namespace = [&](const std::string& ns) {
    add_workloads(ns, store, touched, kEach);
    add_in(store.peers, ns, touched.peers, kEach);
  };
  if (own != config.root_namespace) return add_namespace(own);
  for (const std::string& ns : namespaces_of_workloads(store)) add_namespace(ns);
  add_all(store.peers, touched.peers);
}

// Its endpoints, and the workloads that it selects.
void add_members(const ServiceEntry& entry, const Store& store, Touched& touched) {
  const std::string& ns = entry.metadata().namespace_();
  touched.service_entries.emplace(ns, entry.metadata().name());
  add_workloads(ns, store, touched,
                [&](const Labels& labels) { return selects_workloads(entry, labels); });
}

// Other ServiceEntries of the namespace with the host: whose it is may have changed.
void add_rivals(const std::string& ns, const std::string& host, const Store& store,
                Touched& touched) {
  for (const ServiceEntry* entry : entries_with(ns, host, store)) {
    add_members(*entry, store, touched);
  }
}

void add_service(const crd::core::Service& service, const Store& store, const MeshConfig& config,
                 Touched& touched) {
  const std::string& ns = service.metadata().namespace_();
  const std::string host = hostname_of(service, config);
  touched.services.emplace(ns, host);
  add_workloads(ns, store, touched,
                [&](const Labels& labels) { return has_endpoint(service, labels); });
  add_in(store.slices, ns, touched.slices, [&](const crd::core::EndpointSlice& slice) {
    return service_name_of(slice) == service.metadata().name();
  });
  add_rivals(ns, host, store, touched);
}

// Every service of a namespace: its labels name their waypoint.
void add_hosts_in(const std::string& ns, const Store& store, const MeshConfig& config,
                  Touched& touched) {
  for (const auto& [name, service] : store.services.in(ns)) {
    touched.services.emplace(ns, hostname_of(*service, config));
  }
  for (const auto& [name, entry] : store.service_entries.in(ns)) {
    for (const std::string& host : hosts_of(*entry)) touched.services.emplace(ns, host);
  }
}

// Workloads of the services that the rule has subsets of.
void add_destination_rule(const crd::networking::DestinationRule& rule, const Store& store,
                          const MeshConfig& config, Touched& touched) {
  if (rule.spec().subsets().empty()) return;
  const std::string pattern =
      l7::full_host(rule.spec().host(), rule.metadata().namespace_(), config.cluster_domain);
  for (const auto& [ns, services] : store.services.all()) {
    for (const auto& [name, service] : services) {
      if (!l7::host_matches(pattern, hostname_of(*service, config))) continue;
      add_workloads(ns, store, touched,
                    [&](const Labels& labels) { return has_endpoint(*service, labels); });
    }
  }
  for (const auto& [host, namespaces] : store.namespaces_by_host) {
    if (!l7::host_matches(pattern, host)) continue;
    for (const std::string& ns : namespaces) add_rivals(ns, host, store, touched);
  }
}

// What a waypoint stands before, in any namespace, and what is made for it.
void add_gateway(const crd::gateway_api::Gateway& gateway, const Store& store,
                 const MeshConfig& config, Touched& touched) {
  if (!is_waypoint(gateway)) return;
  const auto& own = gateway.metadata();
  const WaypointName waypoint{own.namespace_(), own.name()};
  const auto concerns = [&](const auto& object) {
    const auto& meta = object.metadata();
    return names_waypoint(meta, store, waypoint) ||
           (meta.namespace_() == own.namespace_() &&
            value_of(meta.labels(), kGatewayNameLabel) == own.name());
  };
  for (const auto& [ns, services] : store.services.all()) {
    for (const auto& [name, service] : services) {
      if (concerns(*service)) touched.services.emplace(ns, hostname_of(*service, config));
    }
  }
  for (const auto& [ns, entries] : store.service_entries.all()) {
    for (const auto& [name, entry] : entries) {
      if (!concerns(*entry)) continue;
      for (const std::string& host : hosts_of(*entry)) touched.services.emplace(ns, host);
    }
  }
  for (const auto& [ns, pods] : store.pods.all()) add_in(store.pods, ns, touched.pods, concerns);
  for (const auto& [ns, entries] : store.workload_entries.all()) {
    add_in(store.workload_entries, ns, touched.workload_entries, concerns);
  }
}

// What it guards may be any service or workload that has a waypoint.
void add_guarded(const Store& store, const MeshConfig& config, Touched& touched) {
  for (const auto& [ns, services] : store.services.all()) {
    for (const auto& [name, service] : services) {
      if (waypoint_of(*service, store)) touched.services.emplace(ns, hostname_of(*service, config));
    }
  }
  for (const auto& [ns, entries] : store.service_entries.all()) {
    for (const auto& [name, entry] : entries) {
      if (!waypoint_of(*entry, store)) continue;
      for (const std::string& host : hosts_of(*entry)) touched.services.emplace(ns, host);
    }
  }
  const auto has_waypoint = [&](const auto& object) {
    return waypoint_of(object, store).has_value();
  };
  for (const auto& [ns, pods] : store.pods.all()) {
    add_in(store.pods, ns, touched.pods, has_waypoint);
  }
  for (const auto& [ns, entries] : store.workload_entries.all()) {
    add_in(store.workload_entries, ns, touched.workload_entries, has_waypoint);
  }
}

void add_service_entry(const ServiceEntry& entry, const Store& store, Touched& touched) {
  const std::string& ns = entry.metadata().namespace_();
  touched.vips = true;
  add_members(entry, store, touched);
  for (const std::string& host : hosts_of(entry)) {
    touched.services.emplace(ns, host);
    add_rivals(ns, host, store, touched);
  }
}

void add_node(const std::string& node, const Store& store, Touched& touched) {
  for (const auto& [ns, pods] : store.pods.all()) {
    add_in(store.pods, ns, touched.pods,
           [&](const crd::core::Pod& pod) { return pod.spec().nodename() == node; });
  }
  for (const auto& [ns, slices] : store.slices.all()) {
    add_in(store.slices, ns, touched.slices, [&](const crd::core::EndpointSlice& slice) {
      return std::ranges::any_of(slice.endpoints(),
                                 [&](const auto& endpoint) { return endpoint.nodename() == node; });
    });
  }
}

void add_sidecar(const crd::networking::Sidecar& sidecar, const Store& store,
                 const MeshConfig& config, Touched& touched) {
  const std::string& own = sidecar.metadata().namespace_();
  if (own == config.root_namespace) return add_all(store.pods, touched.pods);
  add_in(store.pods, own, touched.pods, kEach);
}

}  // namespace

void Touched::add(const objects::Object& object, const Store& store, const MeshConfig& config) {
  const objects::Key key = object.key();
  const std::pair<std::string, std::string> own(key.ns, key.name);
  if (is_waypoint_guard(object)) add_guarded(store, config, *this);
  if (object.as<crd::core::Pod>() != nullptr) {
    pods.insert(own);
  } else if (const auto* service = object.as<crd::core::Service>()) {
    add_service(*service, store, config, *this);
  } else if (object.as<crd::core::Namespace>() != nullptr) {
    add_in(store.pods, key.name, pods, kEach);
    add_in(store.workload_entries, key.name, workload_entries, kEach);
    add_hosts_in(key.name, store, config, *this);
  } else if (const auto* gateway = object.as<crd::gateway_api::Gateway>()) {
    add_gateway(*gateway, store, config, *this);
  } else if (const auto* policy = object.as<crd::security::AuthorizationPolicy>()) {
    policies.insert(own);
    add_policy(*policy, store, config, *this);
  } else if (const auto* peer = object.as<crd::security::PeerAuthentication>()) {
    peers.insert(own);
    add_peer(*peer, store, config, *this);
  } else if (const auto* entry = object.as<ServiceEntry>()) {
    add_service_entry(*entry, store, *this);
  } else if (object.as<WorkloadEntry>() != nullptr) {
    workload_entries.insert(own);
  } else if (object.as<crd::core::EndpointSlice>() != nullptr) {
    slices.insert(own);
  } else if (object.as<crd::core::Node>() != nullptr) {
    add_node(key.name, store, *this);
  } else if (const auto* sidecar = object.as<crd::networking::Sidecar>()) {
    add_sidecar(*sidecar, store, config, *this);
  } else if (const auto* rule = object.as<crd::networking::DestinationRule>()) {
    add_destination_rule(*rule, store, config, *this);
  } else if (object.as<crd::core::ConfigMap>() != nullptr) {
    mesh |= is_mesh_config(config, key);
  }
}

void Touched::add_everything(const Store& store, const MeshConfig& config) {
  add_all(store.pods, pods);
  add_all(store.workload_entries, workload_entries);
  add_all(store.service_entries, service_entries);
  add_all(store.slices, slices);
  add_all(store.policies, policies);
  add_all(store.peers, peers);
  for (const auto& [ns, in_namespace] : store.services.all()) {
    for (const auto& [name, service] : in_namespace) {
      services.emplace(ns, hostname_of(*service, config));
    }
  }
}

}  // namespace weft::compile
