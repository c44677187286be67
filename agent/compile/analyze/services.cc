#include "agent/compile/analyze/checks.h"
#include "agent/compile/membership.h"
#include "agent/compile/service.h"
#include "agent/compile/service_entry.h"

#include <algorithm>

namespace weft::analyze {

namespace {

using crd::networking::ServiceEntry;
using crd::networking::ServiceEntrySpec;
using crd::networking::Sidecar;

objects::Key key_of(const char* kind, const crd::core::ObjectMeta& meta) {
  return {kind, meta.namespace_(), meta.name()};
}

void check_endpoints(const ServiceEntry& entry, const Cluster& cluster, Findings& findings) {
  const ServiceEntrySpec& spec = entry.spec();
  const objects::Key key = key_of("ServiceEntry", entry.metadata());
  if (spec.has_workloadselector()) {
    const auto& wanted = spec.workloadselector().labels();
    if (!cluster.knows_pods_of(key.ns) || selects_any(cluster, key.ns, wanted)) return;
    findings.add(kSelectsNothing, key,
                 "no workload in namespace " + key.ns + " has the labels " + describe(wanted) +
                     ": its hosts have no endpoint");
  } else if (spec.resolution() == ServiceEntrySpec::STATIC && spec.endpoints().empty()) {
    findings.add(kNoEndpoint, key,
                 "resolution STATIC without endpoints or workloadSelector: connections to its "
                 "hosts are refused");
  }
}

void check_selection(const Sidecar& sidecar, const Cluster& cluster, Findings& findings) {
  const auto& wanted = sidecar.spec().workloadselector().labels();
  const objects::Key key = key_of("Sidecar", sidecar.metadata());
  if (wanted.empty() || !cluster.knows_pods_of(key.ns)) return;
  if (!cluster.matching(key.ns, wanted).empty()) return;
  findings.add(kSelectsNothing, key,
               "no workload in namespace " + key.ns + " has the labels " + describe(wanted));
}

// Sidecars of a namespace that both select a workload, or both select all: only the oldest counts.
void check_rivals(const std::vector<const Sidecar*>& sidecars, const Cluster& cluster,
                  Findings& findings) {
  for (const Sidecar* one : sidecars) {
    const auto& wanted = one->spec().workloadselector().labels();
    for (const Sidecar* other : sidecars) {
      const auto& also = other->spec().workloadselector().labels();
      if (one == other || wanted.empty() != also.empty()) continue;
      const std::string& ns = one->metadata().namespace_();
      const auto selected = cluster.matching(ns, wanted);
      const bool shared = wanted.empty() || std::ranges::any_of(selected, [&](const Shape* shape) {
                            return compile::selects(also, shape->pod.metadata().labels());
                          });
      if (!shared) continue;
      findings.add(wanted.empty() ? kTwoSidecars : kSidecarsOverlap,
                   key_of("Sidecar", one->metadata()),
                   "and Sidecar " + other->metadata().name() + " are for the same workloads of " +
                       "namespace " + ns + ": only the oldest counts");
      break;
    }
  }
}

}  // namespace

bool selects_any(const Cluster& cluster, const std::string& ns, const compile::Labels& wanted) {
  if (!cluster.matching(ns, wanted).empty()) return true;
  return std::ranges::any_of(cluster.store().workload_entries.in(ns), [&](const auto& named) {
    return compile::selects(wanted, compile::labels_of(*named.second));
  });
}

void check_service_entries(const Cluster& cluster, Findings& findings) {
  const compile::Store& store = cluster.store();
  for (const auto& [ns, entries] : store.service_entries.all()) {
    for (const auto& [name, entry] : entries) {
      check_endpoints(*entry, cluster, findings);
      for (const std::string& host : compile::hosts_of(*entry)) {
        const auto owner = compile::owner_of(ns, host, store, cluster.config());
        if (!compile::is_served(*entry) || owner.entry == entry.get()) continue;
        findings.add(kHostTwice, key_of("ServiceEntry", entry->metadata()),
                     "host " + host + " is that of " +
                         (owner.service != nullptr
                              ? "Service " + owner.service->metadata().name()
                              : "the older ServiceEntry " + owner.entry->metadata().name()) +
                         " of the namespace: here it has no effect");
      }
    }
  }
}

void check_sidecars(const Cluster& cluster, Findings& findings) {
  for (const auto& [ns, named] : cluster.store().sidecars.all()) {
    std::vector<const Sidecar*> sidecars;
    for (const auto& [name, sidecar] : named) {
      check_selection(*sidecar, cluster, findings);
      sidecars.push_back(sidecar.get());
    }
    check_rivals(sidecars, cluster, findings);
  }
}

}  // namespace weft::analyze
