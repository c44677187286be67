#include "agent/compile/membership.h"

#include "agent/compile/authorization_policy.h"
#include "agent/compile/l7/destination_rules.h"
#include "agent/compile/peer_authentication.h"
#include "agent/compile/service.h"
#include "agent/compile/service_entry.h"

#include <algorithm>

namespace weft::compile {

namespace {

// The Services of the namespace that select a workload with these labels.
template <class Call>
void for_services(const std::string& ns, const Labels& labels, const Store& store, Call call) {
  store.services_by_label.for_candidates(ns, labels, [&](const std::string& name) {
    const auto* service = store.services.find(ns, name);
    if (service != nullptr && has_endpoint(*service, labels)) call(*service);
  });
}

void join_entries(const std::string& ns, const Labels& labels, const NamedPorts& own,
                  const Store& store, const MeshConfig& config, Memberships& services) {
  for (const auto& [name, entry] : store.service_entries.in(ns)) {
    if (!selects_workloads(*entry, labels)) continue;
    for (const std::string& host : hosts_of(*entry)) {
      if (owner_of(ns, host, store, config).entry != entry.get()) continue;
      services[ns + "/" + host] = ports_on(*entry, own);
    }
  }
}

}  // namespace

Labels labels_of(const crd::networking::WorkloadEntry& entry) {
  Labels labels = entry.metadata().labels();
  for (const auto& [key, value] : entry.spec().labels()) labels[key] = value;
  return labels;
}

Memberships services_of(const crd::core::Pod& pod, const Store& store, const MeshConfig& config) {
  Memberships services;
  const std::string& ns = pod.metadata().namespace_();
  const Labels& labels = pod.metadata().labels();
  for_services(ns, labels, store, [&](const crd::core::Service& service) {
    services[service_key(service, config)] = ports_on(service, pod);
  });
  join_entries(ns, labels, {}, store, config, services);
  return services;
}

Memberships services_of(const crd::networking::WorkloadEntry& entry, const Store& store,
                        const MeshConfig& config) {
  Memberships services;
  const std::string& ns = entry.metadata().namespace_();
  const Labels labels = labels_of(entry);
  for_services(ns, labels, store, [&](const crd::core::Service& service) {
    services[service_key(service, config)] = ports_on(service, entry.spec());
  });
  join_entries(ns, labels, entry.spec().ports(), store, config, services);
  return services;
}

std::vector<std::string> subsets_of(const Labels& labels, const Memberships& services,
                                    const Store& store, const MeshConfig& config) {
  std::vector<std::string> keys;
  for (const auto& [key, ports] : services) keys.push_back(key);
  return l7::subsets_of(labels, keys, store, config);
}

std::vector<std::string> policies_over(const std::string& ns, const Labels& labels,
                                       const Store& store, const MeshConfig& config) {
  std::vector<std::string> keys = selected_policies_of(ns, labels, store, config);
  for (std::string& key : peer_policies_of(ns, labels, store, config)) {
    keys.push_back(std::move(key));
  }
  std::ranges::sort(keys);
  return keys;
}

}  // namespace weft::compile
