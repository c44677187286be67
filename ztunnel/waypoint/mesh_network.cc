#include "ztunnel/waypoint/mesh_network.h"

#include "ztunnel/learn/candidates.h"
#include "ztunnel/waypoint/open_endpoint.h"

#include <algorithm>

namespace weft::waypoint {
namespace {

using runtime::Task;
using weft::route::Destination;
using weft::route::Traffic;

std::string key_of(const Destination& destination) {
  return destination.namespace_() + "/" + destination.hostname();
}

bool is_of_subset(const learn::Workload& workload, const Destination& destination) {
  if (destination.subset().empty()) return true;
  const std::string name = key_of(destination) + "/" + destination.subset();
  return std::ranges::find(workload.subsets, name) != workload.subsets.end();
}

Place place_of(const learn::Workload& workload) {
  Place place{workload.locality.region, workload.locality.zone, workload.locality.subzone, {}};
  place.labels = {{"topology.kubernetes.io/region", place.region},
                  {"topology.kubernetes.io/zone", place.zone},
                  {"topology.istio.io/subzone", place.subzone},
                  {"kubernetes.io/hostname", workload.node}};
  std::erase_if(place.labels, [](const auto& label) { return label.second.empty(); });
  return place;
}

Host host_of(std::shared_ptr<const learn::Workload> workload, const SocketAddress& address) {
  Host host{.address = address,
            .name = address.to_string(),
            .workload = nullptr,
            .weight = workload->capacity,
            .place = place_of(*workload)};
  if (address.ip.is_unspecified()) {
    host.name = workload->hostname + ":" + std::to_string(address.port);
  }
  host.workload = std::move(workload);
  return host;
}

std::vector<Host> hosts_among(const learn::State& state, const learn::Candidates& candidates,
                              const Destination& destination) {
  std::vector<Host> hosts;
  for (size_t i = 0; i < candidates.size(); ++i) {
    const learn::Candidate& candidate = candidates[i];
    if (!is_of_subset(*candidate.workload, destination)) continue;
    if (auto workload = state.workload_by_uid(candidate.workload->uid)) {
      hosts.push_back(host_of(std::move(workload), candidate.address));
    }
  }
  return hosts;
}

}  // namespace

const Traffic* traffic_in(const weft::route::Policy& policy, uint32_t port,
                          const std::string& subset) {
  const auto of_port = [port](const auto& ports) -> const Traffic* {
    const auto found = ports.find(port);
    return found == ports.end() ? nullptr : &found->second;
  };
  if (!subset.empty()) {
    for (const auto& one : policy.subsets()) {
      if (one.name() != subset) continue;
      if (const Traffic* traffic = of_port(one.ports())) return traffic;
      if (one.has_traffic()) return &one.traffic();
      break;
    }
  }
  if (const Traffic* traffic = of_port(policy.ports())) return traffic;
  return policy.has_traffic() ? &policy.traffic() : nullptr;
}

void MeshNetwork::changed() {
  ++generation_;
  own_place_ = place_of(*context_.own_workload());
}

std::vector<Host> MeshNetwork::endpoints(const Destination& destination) {
  const auto state = context_.view.state();
  if (destination.namespace_().empty()) {
    const auto ip = IpAddress::parse(destination.hostname());
    auto workload = ip ? state->workload_by_ip(*ip) : nullptr;
    if (!workload) return {};
    return {host_of(std::move(workload), {*ip, static_cast<uint16_t>(destination.port())})};
  }
  const auto service = state->service_by_key(key_of(destination));
  if (!service) return {};
  const auto* port = service->candidates_for(static_cast<uint16_t>(destination.port()));
  if (port == nullptr) return {};
  // Ready before ending, one family for all: an endpoint with both is in both.
  for (const auto* tables : {&port->ready, &port->ending}) {
    for (const learn::Candidates& table : *tables) {
      std::vector<Host> hosts = hosts_among(*state, table, destination);
      if (!hosts.empty()) return hosts;
    }
  }
  return {};
}

weft::route::Port::Protocol MeshNetwork::protocol(const Destination& destination) {
  if (context_.config == nullptr) return weft::route::Port::SNIFF;
  const auto service = context_.config->services.find(key_of(destination));
  if (service == context_.config->services.end()) return weft::route::Port::SNIFF;
  const auto& ports = service->second->ports;
  const auto port = ports.find(static_cast<uint16_t>(destination.port()));
  return port == ports.end() ? weft::route::Port::SNIFF : port->second.protocol;
}

Result<void> check_honoured(const Traffic& traffic) {
  if (traffic.has_tls()) {
    return fail(Code::kUnsupported,
                "its DestinationRule asks for TLS (trafficPolicy.tls), which waypoints do not "
                "originate yet: refused, not sent without");
  }
  if (traffic.proxy_protocol() != 0) {
    return fail(Code::kUnsupported,
                "its DestinationRule asks for the PROXY protocol (trafficPolicy.proxyProtocol), "
                "which waypoints do not speak yet: refused, not sent without");
  }
  return {};
}

const Traffic* MeshNetwork::traffic(const Destination& destination) {
  if (context_.config == nullptr) return nullptr;
  const auto policy = context_.config->policies.find(key_of(destination));
  if (policy == context_.config->policies.end()) return nullptr;
  return traffic_in(*policy->second, destination.port(), destination.subset());
}

Task<Result<std::unique_ptr<runtime::ByteStream>>> MeshNetwork::dial(
    const Host& endpoint, const Traffic& traffic, std::chrono::milliseconds timeout) {
  CO_TRY(check_honoured(traffic));
  auto workload = std::static_pointer_cast<const learn::Workload>(endpoint.workload);
  auto opened = co_await open_endpoint(context_, {.workload = std::move(workload),
                                                  .address = endpoint.address,
                                                  .service = nullptr,
                                                  .client = {},
                                                  .timeout = timeout});
  if (!opened) co_return Fail(std::move(opened.error().error));
  co_return std::move(opened->stream);
}

}  // namespace weft::waypoint
