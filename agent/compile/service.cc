#include "agent/compile/service.h"

#include "agent/compile/service_entry.h"

#include <algorithm>

namespace weft::compile {

namespace core = crd::core;

namespace {

constexpr uint32_t kAffinityTimeoutDefault = 10800;  // Kubernetes': three hours
constexpr const char* kExportAnnotation = "networking.istio.io/exportTo";

uint32_t numeric_target(const core::ServicePort& port) {
  using Value = google::protobuf::Value;
  if (!port.has_targetport()) return port.port();
  if (port.targetport().kind_case() == Value::kNumberValue) {
    return static_cast<uint32_t>(port.targetport().number_value());
  }
  return 0;
}

uint32_t named_port(const core::Pod& pod, const std::string& name) {
  for (const core::Container& container : pod.spec().containers()) {
    for (const core::ContainerPort& port : container.ports()) {
      if (port.name() == name && is_tcp(port.protocol())) return port.containerport();
    }
  }
  return 0;
}

model::IpFamilies families_of(const core::ServiceSpec& spec) {
  bool v4 = false;
  bool v6 = false;
  for (const std::string& family : spec.ipfamilies()) {
    v4 |= family == "IPv4";
    v6 |= family == "IPv6";
  }
  if (v4 && v6) return model::IpFamilies::kDual;
  if (v4) return model::IpFamilies::kV4;
  return v6 ? model::IpFamilies::kV6 : model::IpFamilies::kAny;
}

model::Preference preference_in(const core::Service& object) {
  const core::ServiceSpec& spec = object.spec();
  if (spec.internaltrafficpolicy() == "Local") return model::Preference::kOnlySameNode;
  const std::string_view distribution =
      spec.trafficdistribution().empty()
          ? value_of(object.metadata().annotations(), std::string(kDistributionAnnotation))
          : std::string_view(spec.trafficdistribution());
  return preference_of(distribution);
}

void add_address(const std::string& text, std::vector<Cidr>& addresses) {
  if (!IpAddress::parse(text)) return;  // "" and "None" are none
  const Cidr address = *Cidr::parse(text);
  if (std::ranges::find(addresses, address) == addresses.end()) addresses.push_back(address);
}

uint32_t affinity_timeout_of(const core::ServiceSpec& spec) {
  if (spec.sessionaffinity() != "ClientIP") return 0;
  const auto& config = spec.sessionaffinityconfig().clientip();
  return config.has_timeoutseconds() ? config.timeoutseconds() : kAffinityTimeoutDefault;
}

std::vector<std::string> split_at_commas(std::string_view text) {
  std::vector<std::string> parts;
  while (!text.empty()) {
    const size_t comma = std::min(text.find(','), text.size());
    std::string_view part = text.substr(0, comma);
    while (part.starts_with(' ')) part.remove_prefix(1);
    while (part.ends_with(' ')) part.remove_suffix(1);
    if (!part.empty()) parts.emplace_back(part);
    text.remove_prefix(std::min(comma + 1, text.size()));
  }
  return parts;
}

// Ports whose workload's own one `target` finds.
template <class Target>
std::vector<model::PortPair> ports_by(const core::Service& object, Target target) {
  std::vector<model::PortPair> pairs;
  for (const core::ServicePort& port : object.spec().ports()) {
    if (!is_tcp(port.protocol())) continue;
    const uint32_t own = target(port);
    if (own != 0) pairs.push_back({port.port(), own});
  }
  return pairs;
}

}  // namespace

bool is_tcp(const std::string& protocol) { return protocol.empty() || protocol == "TCP"; }

bool is_alias(const core::Service& object) { return object.spec().type() == "ExternalName"; }

model::Preference preference_of(std::string_view distribution) {
  if (distribution == "PreferClose" || distribution == "PreferSameZone") {
    return model::Preference::kSameZone;
  }
  return distribution == "PreferSameNode" ? model::Preference::kSameNode : model::Preference::kNone;
}

std::string hostname_of(const core::Service& object, const MeshConfig& config) {
  return object.metadata().name() + "." + object.metadata().namespace_() + ".svc." +
         config.cluster_domain;
}

std::string service_key(const core::Service& object, const MeshConfig& config) {
  return object.metadata().namespace_() + "/" + hostname_of(object, config);
}

model::Service compile_service(const core::Service& object, const MeshConfig& config) {
  const core::ServiceSpec& spec = object.spec();
  model::Service service;
  service.name = object.metadata().name();
  service.ns = object.metadata().namespace_();
  service.hostname = hostname_of(object, config);
  if (is_alias(object)) {
    service.external_name = spec.externalname();
    return service;
  }
  add_address(spec.clusterip(), service.addresses);
  for (const std::string& address : spec.clusterips()) add_address(address, service.addresses);
  for (const core::ServicePort& port : spec.ports()) {
    if (!is_tcp(port.protocol())) continue;
    service.ports.push_back({port.name(), {port.port(), numeric_target(port)}});
  }
  service.families = families_of(spec);
  service.preference = preference_in(object);
  service.unready_too = spec.publishnotreadyaddresses();
  service.affinity_timeout_s = affinity_timeout_of(spec);
  const auto exported =
      split_at_commas(value_of(object.metadata().annotations(), kExportAnnotation));
  service.only_own_namespace = export_of(exported, service.ns) != Export::kAll;
  return service;
}

bool has_endpoint(const core::Service& object, const Labels& labels) {
  return !is_alias(object) && !object.spec().selector().empty() &&
         selects(object.spec().selector(), labels);
}

std::vector<model::PortPair> ports_on(const core::Service& object, const core::Pod& pod) {
  return ports_by(object, [&](const core::ServicePort& port) {
    const uint32_t number = numeric_target(port);
    return number != 0 ? number : named_port(pod, port.targetport().string_value());
  });
}

std::vector<model::PortPair> ports_on(const core::Service& object,
                                      const crd::networking::WorkloadEntrySpec& entry) {
  return ports_by(object, [&](const core::ServicePort& port) {
    for (const std::string& name : {port.name(), port.targetport().string_value()}) {
      const auto own = entry.ports().find(name);
      if (!name.empty() && own != entry.ports().end()) return own->second;
    }
    return numeric_target(port);
  });
}

}  // namespace weft::compile
