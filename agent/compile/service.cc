#include "agent/compile/service.h"

namespace weft::compile {

namespace core = crd::core;

namespace {

constexpr std::string_view kDistributionAnnotation = "networking.istio.io/traffic-distribution";

bool is_tcp(const std::string& protocol) { return protocol.empty() || protocol == "TCP"; }

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

model::Preference preference_of(const core::Service& object) {
  const core::ServiceSpec& spec = object.spec();
  if (spec.internaltrafficpolicy() == "Local") return model::Preference::kOnlySameNode;
  const std::string_view distribution =
      spec.trafficdistribution().empty()
          ? value_of(object.metadata().annotations(), std::string(kDistributionAnnotation))
          : std::string_view(spec.trafficdistribution());
  if (distribution == "PreferClose" || distribution == "PreferSameZone") {
    return model::Preference::kSameZone;
  }
  return distribution == "PreferSameNode" ? model::Preference::kSameNode : model::Preference::kNone;
}

void add_address(const std::string& text, std::vector<IpAddress>& addresses) {
  const auto address = IpAddress::parse(text);  // "" and "None" are none
  if (address && std::find(addresses.begin(), addresses.end(), *address) == addresses.end()) {
    addresses.push_back(*address);
  }
}

bool is_alias(const core::Service& object) { return object.spec().type() == "ExternalName"; }

}  // namespace

std::string service_key(const core::Service& object, const MeshConfig& config) {
  const std::string& ns = object.metadata().namespace_();
  return ns + "/" + object.metadata().name() + "." + ns + ".svc." + config.cluster_domain;
}

std::optional<model::Service> compile_service(const core::Service& object,
                                              const MeshConfig& config) {
  if (is_alias(object)) return std::nullopt;
  const core::ServiceSpec& spec = object.spec();
  model::Service service;
  service.name = object.metadata().name();
  service.ns = object.metadata().namespace_();
  service.hostname = service.name + "." + service.ns + ".svc." + config.cluster_domain;
  add_address(spec.clusterip(), service.addresses);
  for (const std::string& address : spec.clusterips()) add_address(address, service.addresses);
  for (const core::ServicePort& port : spec.ports()) {
    if (is_tcp(port.protocol())) service.ports.push_back({port.port(), numeric_target(port)});
  }
  service.families = families_of(spec);
  service.preference = preference_of(object);
  service.unready_too = spec.publishnotreadyaddresses();
  return service;
}

bool has_endpoint(const core::Service& object, const core::Pod& pod) {
  return !is_alias(object) && !object.spec().selector().empty() &&
         selects(object.spec().selector(), pod.metadata().labels());
}

std::vector<model::PortPair> ports_on(const core::Service& object, const core::Pod& pod) {
  std::vector<model::PortPair> pairs;
  for (const core::ServicePort& port : object.spec().ports()) {
    if (!is_tcp(port.protocol())) continue;
    uint32_t target = numeric_target(port);
    if (target == 0) target = named_port(pod, port.targetport().string_value());
    if (target != 0) pairs.push_back({port.port(), target});
  }
  return pairs;
}

}  // namespace weft::compile
