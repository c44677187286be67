#include "ztunnel/learn/resources.h"

#include <algorithm>

namespace weft::learn {
namespace {

namespace pb = istio::workload;

using PortMap = std::unordered_map<uint16_t, uint16_t>;

Fail wrong(std::string_view field, const std::string& expected) {
  return fail(Code::kInvalid, std::string(field) + ": " + expected);
}

template <class Ports>
Result<PortMap> parse_ports(const Ports& from, std::string_view field) {
  constexpr uint32_t kPortMax = 65535;
  PortMap result;
  for (const pb::Port& port : from) {
    if (port.service_port() == 0 || port.service_port() > kPortMax ||
        port.target_port() > kPortMax) {
      return wrong(field, "expected ports up to 65535, got " + std::to_string(port.service_port()) +
                              " -> " + std::to_string(port.target_port()));
    }
    result[static_cast<uint16_t>(port.service_port())] = static_cast<uint16_t>(port.target_port());
  }
  return result;
}

std::string type_name(pb::WorkloadType type) {
  switch (type) {
    case pb::DEPLOYMENT:
      return "deployment";
    case pb::CRONJOB:
      return "cronjob";
    case pb::JOB:
      return "job";
    default:
      return "pod";
  }
}

IpFamilies families_of(pb::IPFamilies families) {
  switch (families) {
    case pb::IPV4_ONLY:
      return IpFamilies::kV4;
    case pb::IPV6_ONLY:
      return IpFamilies::kV6;
    case pb::DUAL:
      return IpFamilies::kDual;
    default:
      return IpFamilies::kAny;
  }
}

Result<void> add_scope(int scope, std::vector<Scope>& scopes) {
  using Balancing = pb::LoadBalancing;
  static const std::unordered_map<int, Scope> kScopes = {
      {Balancing::REGION, Scope::kRegion},   {Balancing::ZONE, Scope::kZone},
      {Balancing::SUBZONE, Scope::kSubzone}, {Balancing::NODE, Scope::kNode},
      {Balancing::CLUSTER, Scope::kCluster}, {Balancing::NETWORK, Scope::kNetwork}};
  if (scope == Balancing::UNSPECIFIED_SCOPE) return {};
  const auto known = kScopes.find(scope);
  if (known == kScopes.end()) {
    return wrong("load_balancing.routing_preference",
                 "expected a known scope, got " + std::to_string(scope));
  }
  if (std::ranges::find(scopes, known->second) == scopes.end()) scopes.push_back(known->second);
  return {};
}

// What is not known is refused: traffic that was to stay on its node must not leave it silently.
Result<Balancing> parse_balancing(const pb::Service& from) {
  Balancing balancing;
  switch (from.load_balancing().mode()) {
    case pb::LoadBalancing::UNSPECIFIED_MODE:
      break;
    case pb::LoadBalancing::STRICT:
      balancing.mode = Balancing::Mode::kStrict;
      break;
    case pb::LoadBalancing::FAILOVER:
      balancing.mode = Balancing::Mode::kFailover;
      break;
    case pb::LoadBalancing::PASSTHROUGH:
      balancing.mode = Balancing::Mode::kPassthrough;
      break;
    default:
      return wrong("load_balancing.mode",
                   "expected a known mode, got " + std::to_string(from.load_balancing().mode()));
  }
  for (const int scope : from.load_balancing().routing_preference()) {
    TRY(add_scope(scope, balancing.scopes));
  }
  balancing.unready_too = from.load_balancing().health_policy() == pb::LoadBalancing::ALLOW_ALL;
  balancing.client_affinity = from.has_session_affinity();
  return balancing;
}

Result<Waypoint> parse_waypoint(const pb::GatewayAddress& from, const std::string& network) {
  constexpr uint32_t kPortMax = 65535;
  Waypoint waypoint;
  if (from.hbone_mtls_port() == 0 || from.hbone_mtls_port() > kPortMax) {
    return wrong("waypoint.hbone_mtls_port",
                 "expected a port up to 65535, got " + std::to_string(from.hbone_mtls_port()));
  }
  waypoint.port = static_cast<uint16_t>(from.hbone_mtls_port());
  if (from.has_hostname()) {
    waypoint.service = from.hostname().namespace_() + "/" + from.hostname().hostname();
    return waypoint;
  }
  if (!from.has_address()) return wrong("waypoint", "expected a host name or an address");
  if (from.address().network() != network) {
    return wrong("waypoint.address", "it is on the network \"" + from.address().network() +
                                         "\", and there is no way to other networks");
  }
  Result<IpAddress> address = IpAddress::from_bytes(from.address().address());
  if (!address) return Fail(std::move(address.error()).in("waypoint.address"));
  waypoint.address = *address;
  return waypoint;
}

// The weighted ones go before the single one, which older ztunnels read (a waypoint in trial).
Result<std::vector<Waypoint>> parse_waypoints(const pb::Service& from, const std::string& network) {
  std::vector<Waypoint> waypoints;
  for (const pb::WeightedWaypoint& one : from.weighted_waypoints()) {
    Waypoint waypoint = TRY(parse_waypoint(one.destination(), network));
    waypoint.weight = one.weight();
    if (waypoint.weight > 0) waypoints.push_back(std::move(waypoint));
  }
  if (waypoints.empty() && from.has_waypoint()) {
    waypoints.push_back(TRY(parse_waypoint(from.waypoint(), network)));
  }
  return waypoints;
}

Result<void> parse_vips(const pb::Service& from, const std::string& network, Service& service) {
  for (const pb::NetworkAddress& address : from.addresses()) {
    if (address.network() != network) continue;
    Result<IpAddress> vip = IpAddress::from_bytes(address.address());
    if (!vip) return Fail(std::move(vip.error()).in("addresses"));
    const uint32_t whole = vip->is_v4() ? 32 : 128;
    if (!address.has_length() || address.length() == whole) {
      service.vips.push_back(*vip);
      continue;
    }
    Result<Cidr> range = Cidr::make(*vip, address.length());
    if (!range) return Fail(std::move(range.error()).in("addresses"));
    service.vip_ranges.push_back(*range);
  }
  return {};
}

Result<SpiffeId> parse_identity(const pb::Workload& from) {
  const SpiffeId id{from.trust_domain().empty() ? "cluster.local" : from.trust_domain(),
                    from.namespace_(),
                    from.service_account().empty() ? "default" : from.service_account()};
  return SpiffeId::parse(id.to_string());
}

Result<ApplicationTunnel> parse_application_tunnel(const pb::ApplicationTunnel& from) {
  constexpr uint32_t kPortMax = 65535;
  if (from.port() > kPortMax) {
    return wrong("application_tunnel.port",
                 "expected a port up to 65535, got " + std::to_string(from.port()));
  }
  // An application that expects what we do not know would read its client's bytes instead.
  if (from.protocol() != pb::ApplicationTunnel::NONE &&
      from.protocol() != pb::ApplicationTunnel::PROXY) {
    return wrong("application_tunnel.protocol",
                 "expected NONE or PROXY, got " + std::to_string(from.protocol()));
  }
  return ApplicationTunnel{from.protocol() == pb::ApplicationTunnel::PROXY,
                           static_cast<uint16_t>(from.port())};
}

}  // namespace

UidParts split_uid(std::string_view uid) {
  const size_t group = uid.find('/');
  if (group == std::string_view::npos) return {};
  const size_t kind = uid.find('/', group + 1);
  if (kind == std::string_view::npos) return {};
  const size_t ns = uid.find('/', kind + 1);
  if (ns == std::string_view::npos) return {};
  return {uid.substr(0, group), uid.substr(kind + 1, ns - kind - 1)};
}

Result<std::shared_ptr<const Workload>> parse_workload(const pb::Workload& from,
                                                       const std::string& network) {
  if (from.uid().empty()) return wrong("uid", "expected a name");
  auto workload = std::make_shared<Workload>();
  workload->uid = from.uid();
  workload->name = from.name();
  workload->ns = from.namespace_();
  workload->node = from.node();
  workload->cluster_id = from.cluster_id();
  workload->canonical_name = from.canonical_name();
  workload->canonical_revision = from.canonical_revision();
  workload->workload_name = from.workload_name();
  workload->workload_type = type_name(from.workload_type());
  Result<SpiffeId> identity = parse_identity(from);
  if (!identity) return Fail(std::move(identity.error()).in("identity"));
  workload->identity = std::move(*identity);
  for (const std::string& bytes : from.addresses()) {
    Result<IpAddress> address = IpAddress::from_bytes(bytes);
    if (!address) return Fail(std::move(address.error()).in("addresses"));
    workload->addresses.push_back(*address);
  }
  workload->hostname = from.hostname();
  workload->network = from.network();
  workload->other_network = from.network() != network;
  workload->locality = {from.locality().region(), from.locality().zone(),
                        from.locality().subzone()};
  switch (from.tunnel_protocol()) {
    case pb::NONE:
      break;
    case pb::HBONE:
      workload->hbone = true;
      break;
    default:  // plain text in its place would be silent
      return wrong("tunnel_protocol",
                   "expected NONE or HBONE, got " + std::to_string(from.tunnel_protocol()));
  }
  workload->healthy = from.status() == pb::HEALTHY;
  workload->serving_while_terminating = !workload->healthy && from.serving_while_terminating();
  workload->capacity = from.has_capacity() ? from.capacity().value() : 1;
  for (const auto& [key, ports] : from.services()) {
    workload->services[key] = TRY(parse_ports(ports.ports(), "services[" + key + "]"));
  }
  workload->authorization_policies.assign(from.authorization_policies().begin(),
                                          from.authorization_policies().end());
  for (const std::string& name : workload->authorization_policies) {
    // With its length: what a name may hold is up to control.
    workload->policies_key += std::to_string(name.size()) + ':' + name;
  }
  workload->host_network = from.network_mode() == pb::HOST_NETWORK;
  if (from.has_waypoint()) {
    workload->waypoints.push_back(TRY(parse_waypoint(from.waypoint(), network)));
  }
  workload->subsets.assign(from.subsets().begin(), from.subsets().end());
  workload->registry_only = from.registry_only();
  workload->pod_hostname = from.pod_hostname();
  workload->pod_subdomain = from.pod_subdomain();
  if (from.has_application_tunnel()) {
    workload->application_tunnel = TRY(parse_application_tunnel(from.application_tunnel()));
  }
  return workload;
}

Result<std::shared_ptr<const Service>> parse_service(const pb::Service& from,
                                                     const std::string& network) {
  if (from.hostname().empty()) return wrong("hostname", "expected a name");
  if (from.namespace_().empty()) return wrong("namespace", "expected a name");
  auto service = std::make_shared<Service>();
  service->name = from.name();
  service->ns = from.namespace_();
  service->hostname = from.hostname();
  TRY(parse_vips(from, network, *service));
  service->ports = TRY(parse_ports(from.ports(), "ports"));
  for (const pb::Port& port : from.ports()) {
    if (!port.name().empty()) {
      service->port_names[static_cast<uint16_t>(port.service_port())] = port.name();
    }
  }
  for (const std::string& name : from.subject_alt_names()) {
    // Other kinds of names cannot be an identity of ours; leaving them out only accepts fewer.
    if (auto id = SpiffeId::parse(name)) service->subject_alt_names.push_back(std::move(*id));
  }
  service->waypoints = TRY(parse_waypoints(from, network));
  service->balancing = TRY(parse_balancing(from));
  service->families = families_of(from.ip_families());
  service->canonical = from.canonical();
  service->only_own_namespace = from.visibility() == pb::NAMESPACE;
  service->external_name = from.external_name();
  return service;
}

}  // namespace weft::learn
