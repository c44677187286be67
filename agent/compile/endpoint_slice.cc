#include "agent/compile/endpoint_slice.h"

#include "agent/compile/locality.h"
#include "agent/compile/service.h"

#include <set>

namespace weft::compile {

namespace core = crd::core;

namespace {

constexpr const char* kServiceLabel = "kubernetes.io/service-name";

// A port of a slice and of its Service have the same name.
std::vector<model::PortPair> ports_on(const core::Service& service,
                                      const core::EndpointSlice& slice) {
  std::vector<model::PortPair> pairs;
  for (const core::ServicePort& port : service.spec().ports()) {
    if (!is_tcp(port.protocol())) continue;
    for (const core::SlicePort& own : slice.ports()) {
      if (own.name() != port.name() || !is_tcp(own.protocol())) continue;
      pairs.push_back({port.port(), own.has_port() ? own.port() : port.port()});
      break;
    }
  }
  return pairs;
}

model::Workload workload_of(const core::SliceEndpoint& endpoint, const core::ObjectMeta& meta,
                            const Store& store, const MeshConfig& config) {
  model::Workload workload;
  workload.name = meta.name();
  workload.ns = meta.namespace_();
  workload.service_account = "default";
  workload.trust_domain = config.trust_domain;
  workload.cluster_id = config.cluster_id;
  workload.node = endpoint.nodename();
  workload.locality = locality_of_node(endpoint.nodename(), store);
  if (workload.locality.zone.empty()) workload.locality.zone = endpoint.zone();
  workload.workload_name = meta.name();
  workload.canonical_name = meta.name();
  workload.canonical_revision = "latest";
  const core::SliceConditions& conditions = endpoint.conditions();
  workload.healthy = !conditions.has_ready() || conditions.ready();
  workload.serving_while_terminating =
      !workload.healthy && conditions.terminating() && conditions.serving();
  return workload;
}

}  // namespace

std::string service_name_of(const core::EndpointSlice& slice) {
  return std::string(value_of(slice.metadata().labels(), kServiceLabel));
}

std::vector<model::Workload> compile_slice(const core::EndpointSlice& slice, const Store& store,
                                           const MeshConfig& config) {
  const core::ObjectMeta& meta = slice.metadata();
  const auto* service = store.services.find(meta.namespace_(), service_name_of(slice));
  if (service == nullptr || !service->spec().selector().empty() || is_alias(*service)) return {};
  const std::string uid = config.cluster_id + "/discovery.k8s.io/EndpointSlice/" +
                          meta.namespace_() + "/" + meta.name() + "/";
  const auto ports = ports_on(*service, slice);
  std::vector<model::Workload> workloads;
  std::set<std::string> seen;
  for (const core::SliceEndpoint& endpoint : slice.endpoints()) {
    if (endpoint.addresses().empty()) continue;
    // Kubernetes: the addresses of one endpoint are interchangeable, use the first.
    const std::string& address = endpoint.addresses(0);
    if (!seen.insert(address).second) continue;
    model::Workload workload = workload_of(endpoint, meta, store, config);
    workload.uid = uid + address;
    if (const auto ip = IpAddress::parse(address)) {
      workload.addresses.push_back(*ip);
    } else {
      workload.hostname = address;
    }
    workload.services[service_key(*service, config)] = ports;
    workloads.push_back(std::move(workload));
  }
  return workloads;
}

}  // namespace weft::compile
