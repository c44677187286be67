#include "agent/compile/workload_entry.h"

#include "agent/compile/locality.h"
#include "agent/compile/membership.h"
#include "agent/compile/waypoint_guards.h"
#include "agent/compile/workload.h"

namespace weft::compile {

using crd::networking::WorkloadEntry;
using crd::networking::WorkloadEntrySpec;

namespace {

constexpr const char* kTunnelLabel = "networking.istio.io/tunnel";

// A WorkloadGroup's probe writes it; where nobody probes, it is taken for healthy.
bool is_healthy(const WorkloadEntry& entry) {
  for (const auto& condition : entry.status().conditions()) {
    if (condition.type() == "Healthy") return condition.status() != "False";
  }
  return true;
}

bool speaks_hbone(const WorkloadEntry& entry) {
  const auto& meta = entry.metadata();
  return value_of(entry.spec().labels(), kTunnelLabel) == "http" ||
         value_of(meta.labels(), kTunnelLabel) == "http" ||
         value_of(meta.annotations(), kRedirectionAnnotation) == "enabled";
}

}  // namespace

std::string workload_entry_uid(const std::string& ns, const std::string& name,
                               const MeshConfig& config) {
  return config.cluster_id + "/networking.istio.io/WorkloadEntry/" + ns + "/" + name;
}

std::optional<model::Workload> workload_from(const WorkloadEntrySpec& spec, const std::string& name,
                                             const std::string& ns, const MeshConfig& config) {
  if (spec.address().empty() || spec.address().starts_with("unix://")) return std::nullopt;
  model::Workload workload;
  workload.name = name;
  workload.ns = ns;
  if (const auto address = IpAddress::parse(spec.address())) {
    workload.addresses.push_back(*address);
  } else {
    workload.hostname = spec.address();
  }
  workload.service_account = spec.serviceaccount().empty() ? "default" : spec.serviceaccount();
  workload.trust_domain = config.trust_domain;
  workload.cluster_id = config.cluster_id;
  workload.network = spec.network();
  workload.locality = parse_locality(spec.locality());
  workload.capacity = spec.weight() > 0 ? spec.weight() : 1;
  workload.healthy = true;
  workload.workload_name = name;
  fill_canonical(spec.labels(), workload);
  return workload;
}

std::optional<model::Workload> compile_workload_entry(const WorkloadEntry& entry,
                                                      const Store& store,
                                                      const MeshConfig& config) {
  const auto& meta = entry.metadata();
  auto workload = workload_from(entry.spec(), meta.name(), meta.namespace_(), config);
  if (!workload) return std::nullopt;
  workload->uid = workload_entry_uid(workload->ns, workload->name, config);
  workload->healthy = is_healthy(entry);
  workload->hbone = speaks_hbone(entry);
  workload->services = services_of(entry, store, config);
  workload->subsets = subsets_of(labels_of(entry), workload->services, store, config);
  workload->policies = policies_over(workload->ns, labels_of(entry), store, config);
  workload->waypoint = guarded_waypoint(entry, store, config);
  return workload;
}

}  // namespace weft::compile
