#include "ztunnel/learn/resources.h"

#include "ztunnel/base/log.h"

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

Result<SpiffeId> parse_identity(const pb::Workload& from) {
  const SpiffeId id{from.trust_domain().empty() ? "cluster.local" : from.trust_domain(),
                    from.namespace_(),
                    from.service_account().empty() ? "default" : from.service_account()};
  return SpiffeId::parse(id.to_string());
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

Result<std::shared_ptr<const Workload>> parse_workload(const pb::Workload& from) {
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
  workload->capacity = from.has_capacity() ? from.capacity().value() : 1;
  for (const auto& [key, ports] : from.services()) {
    workload->services[key] = TRY(parse_ports(ports.ports(), "services[" + key + "]"));
  }
  workload->authorization_policies.assign(from.authorization_policies().begin(),
                                          from.authorization_policies().end());
  workload->host_network = from.network_mode() == pb::HOST_NETWORK;
  workload->has_waypoint = from.has_waypoint();
  return workload;
}

Result<std::shared_ptr<const Service>> parse_service(const pb::Service& from) {
  if (from.hostname().empty()) return wrong("hostname", "expected a name");
  if (from.namespace_().empty()) return wrong("namespace", "expected a name");
  auto service = std::make_shared<Service>();
  service->name = from.name();
  service->ns = from.namespace_();
  service->hostname = from.hostname();
  for (const pb::NetworkAddress& address : from.addresses()) {
    Result<IpAddress> vip = IpAddress::from_bytes(address.address());
    if (!vip) return Fail(std::move(vip.error()).in("addresses"));
    const uint32_t whole = vip->is_v4() ? 32 : 128;
    if (address.has_length() && address.length() != whole) {
      log::warn("xds")
          .field("service", from.namespace_() + "/" + from.hostname())
          .field("prefix", vip->to_string() + "/" + std::to_string(address.length()))
          .say("a service address that is a prefix is not served");
      continue;
    }
    service->vips.push_back(*vip);
  }
  service->ports = TRY(parse_ports(from.ports(), "ports"));
  for (const std::string& name : from.subject_alt_names()) {
    // Other kinds of names cannot be an identity of ours; leaving them out only accepts fewer.
    if (auto id = SpiffeId::parse(name)) service->subject_alt_names.push_back(std::move(*id));
  }
  service->has_waypoint = from.has_waypoint() || from.weighted_waypoints_size() > 0;
  return service;
}

}  // namespace weft::learn
