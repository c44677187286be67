#include "agent/compile/service_entry.h"

#include "agent/compile/membership.h"
#include "agent/compile/service.h"
#include "agent/compile/workload_entry.h"

#include <algorithm>
#include <set>
#include <tuple>

namespace weft::compile {

namespace core = crd::core;
using crd::networking::ServiceEntry;
using crd::networking::ServiceEntryPort;
using crd::networking::ServiceEntrySpec;
using crd::networking::WorkloadEntrySpec;

namespace {

std::string as_dns_compares(std::string_view host) {
  if (host.ends_with('.')) host.remove_suffix(1);
  std::string lower;
  for (const char c : host) lower += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return lower;
}

bool is_udp(std::string_view protocol) { return as_dns_compares(protocol) == "udp"; }

bool is_older(const ServiceEntry& one, const ServiceEntry& other) {
  const core::ObjectMeta& a = one.metadata();
  const core::ObjectMeta& b = other.metadata();
  return std::tie(a.creationtimestamp(), a.name()) < std::tie(b.creationtimestamp(), b.name());
}

// The Service of the namespace whose host name it is.
const core::Service* service_named(const std::string& ns, const std::string& host,
                                   const Store& store, const MeshConfig& config) {
  const std::string suffix = "." + ns + ".svc." + config.cluster_domain;
  if (!host.ends_with(suffix)) return nullptr;
  return store.services.find(ns, host.substr(0, host.size() - suffix.size()));
}

uint32_t target_of(const ServiceEntryPort& port) {
  return port.targetport() != 0 ? port.targetport() : port.number();
}

bool is_by_dns(const ServiceEntry& entry) {
  return entry.spec().resolution() == ServiceEntrySpec::DNS ||
         entry.spec().resolution() == ServiceEntrySpec::DNS_ROUND_ROBIN;
}

}  // namespace

std::vector<std::string> hosts_of(const ServiceEntry& entry) {
  std::vector<std::string> hosts;
  for (const std::string& written : entry.spec().hosts()) {
    std::string host = as_dns_compares(written);
    if (std::ranges::find(hosts, host) == hosts.end()) hosts.push_back(std::move(host));
  }
  return hosts;
}

bool is_served(const ServiceEntry& entry) {
  return entry.spec().resolution() != ServiceEntrySpec::DYNAMIC_DNS &&
         export_of(entry.spec().exportto(), entry.metadata().namespace_()) != Export::kNobody;
}

std::vector<Cidr> addresses_given(const ServiceEntry& entry, const std::string& host) {
  std::vector<Cidr> addresses;
  const auto add = [&](const std::string& text) {
    const auto range = Cidr::parse(text);
    const bool is_none = range && range->address().is_unspecified() && range->length() > 0;
    if (range && !is_none && std::ranges::find(addresses, *range) == addresses.end()) {
      addresses.push_back(*range);
    }
  };
  for (const std::string& text : entry.spec().addresses()) add(text);
  if (!entry.spec().addresses().empty()) return addresses;
  for (const auto& address : entry.status().addresses()) {
    if (as_dns_compares(address.host()) == host) add(address.value());
  }
  return addresses;
}

std::vector<const ServiceEntry*> entries_with(const std::string& ns, const std::string& host,
                                              const Store& store) {
  std::vector<const ServiceEntry*> entries;
  const auto names = store.entries_by_host.find(ns + "/" + host);
  if (names == store.entries_by_host.end()) return entries;
  for (const std::string& name : names->second) {
    if (const auto* entry = store.service_entries.find(ns, name)) entries.push_back(entry);
  }
  return entries;
}

HostOwner owner_of(const std::string& ns, const std::string& host, const Store& store,
                   const MeshConfig& config) {
  if (const auto* service = service_named(ns, host, store, config)) return {service, nullptr};
  HostOwner owner;
  for (const ServiceEntry* entry : entries_with(ns, host, store)) {
    if (!is_served(*entry)) continue;
    if (owner.entry == nullptr || is_older(*entry, *owner.entry)) owner.entry = entry;
  }
  return owner;
}

model::Service compile_host(const ServiceEntry& entry, const std::string& host,
                            const std::vector<Cidr>& allocated) {
  const ServiceEntrySpec& spec = entry.spec();
  model::Service service;
  service.name = entry.metadata().name();
  service.ns = entry.metadata().namespace_();
  service.hostname = host;
  service.addresses = addresses_given(entry, host);
  if (service.addresses.empty()) service.addresses = allocated;
  for (const ServiceEntryPort& port : spec.ports()) {
    if (is_udp(port.protocol())) continue;
    service.ports.push_back({port.name(), {port.number(), target_of(port)}});
  }
  if (spec.resolution() == ServiceEntrySpec::NONE) {
    service.preference = model::Preference::kPassthrough;
  } else {
    service.preference = preference_of(
        value_of(entry.metadata().annotations(), std::string(kDistributionAnnotation)));
  }
  service.subject_alt_names.assign(spec.subjectaltnames().begin(), spec.subjectaltnames().end());
  service.only_own_namespace = export_of(spec.exportto(), service.ns) == Export::kOwnNamespace;
  service.canonical = false;
  return service;
}

bool selects_workloads(const ServiceEntry& entry, const Labels& labels) {
  const Labels& wanted = entry.spec().workloadselector().labels();
  return !wanted.empty() && is_served(entry) && selects(wanted, labels);
}

std::vector<model::PortPair> ports_on(const ServiceEntry& entry, const NamedPorts& own) {
  std::vector<model::PortPair> pairs;
  for (const ServiceEntryPort& port : entry.spec().ports()) {
    if (is_udp(port.protocol())) continue;
    const auto named = own.find(port.name());
    pairs.push_back({port.number(), named == own.end() ? target_of(port) : named->second});
  }
  return pairs;
}

std::vector<model::Workload> compile_endpoints(const ServiceEntry& entry, const Store& store,
                                               const MeshConfig& config) {
  std::vector<model::Workload> workloads;
  if (!is_served(entry) || entry.spec().resolution() == ServiceEntrySpec::NONE) return workloads;
  const core::ObjectMeta& meta = entry.metadata();
  const std::string uid = config.cluster_id + "/networking.istio.io/ServiceEntry/" +
                          meta.namespace_() + "/" + meta.name() + "/";
  std::set<std::string> uids;
  const auto add = [&](const WorkloadEntrySpec& spec, const std::vector<std::string>& hosts) {
    auto workload = workload_from(spec, meta.name(), meta.namespace_(), config);
    if (!workload) return;
    workload->uid = uid + spec.address();
    for (int more = 2; !uids.insert(workload->uid).second; ++more) {
      workload->uid = uid + spec.address() + "~" + std::to_string(more);
    }
    for (const std::string& host : hosts) {
      if (owner_of(meta.namespace_(), host, store, config).entry != &entry) continue;
      workload->services[meta.namespace_() + "/" + host] = ports_on(entry, spec.ports());
    }
    workload->subsets = subsets_of(spec.labels(), workload->services, store, config);
    if (!workload->services.empty()) workloads.push_back(std::move(*workload));
  };
  const std::vector<std::string> hosts = hosts_of(entry);
  for (const WorkloadEntrySpec& spec : entry.spec().endpoints()) add(spec, hosts);
  const bool by_its_own_names =
      is_by_dns(entry) && entry.spec().endpoints().empty() && !entry.spec().has_workloadselector();
  if (!by_its_own_names) return workloads;
  for (const std::string& host : hosts) {
    WorkloadEntrySpec spec;
    spec.set_address(host);
    if (!host.starts_with('*')) add(spec, {host});
  }
  return workloads;
}

}  // namespace weft::compile
