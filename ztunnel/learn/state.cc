#include "ztunnel/learn/state.h"

#include "ztunnel/learn/state_data.h"

#include <algorithm>

namespace weft::learn {
namespace {

template <class Map, class Key>
typename Map::mapped_type find_in(const Map& map, const Key& key) {
  const auto found = map.find(key);
  return found == map.end() ? nullptr : found->second;
}

}  // namespace

const PortCandidates* Service::candidates_for(uint16_t port) const {
  const auto found = std::ranges::lower_bound(candidates, port, {}, &PortCandidates::port);
  return found == candidates.end() || found->port != port ? nullptr : &*found;
}

std::shared_ptr<const Workload> State::workload_by_ip(const IpAddress& ip) const {
  return find_in(data_->workloads_by_ip, ip);
}

std::shared_ptr<const Workload> State::workload_by_uid(std::string_view uid) const {
  return find_in(data_->workloads, uid);
}

std::shared_ptr<const Workload> State::workload_of_pod(std::string_view ns,
                                                       std::string_view name) const {
  std::string key(ns);
  key += '/';
  key += name;
  return find_in(data_->pods, key);
}

std::shared_ptr<const Service> State::service_by_address(const IpAddress& ip,
                                                         std::string_view client_ns) const {
  if (auto service = data_->vips.exact(ip, client_ns)) return service;
  if (data_->workloads_by_ip.contains(ip)) return nullptr;
  return data_->vips.in_range(ip, client_ns);
}

const NameTable& State::names() const { return data_->names; }

std::shared_ptr<const Service> State::service_by_key(std::string_view ns_and_hostname) const {
  return find_in(data_->services, ns_and_hostname);
}

std::shared_ptr<const Service> State::service_of(const Waypoint& waypoint) const {
  if (!waypoint.address) return service_by_key(waypoint.service);
  // Whoever may use a waypoint: its own Service's visibility decides nothing.
  const auto claims = data_->vips.claims().find(
      *Cidr::make(*waypoint.address, waypoint.address->is_v4() ? 32 : 128));
  return claims == data_->vips.claims().end() || claims->second.empty() ? nullptr
                                                                       : claims->second.front();
}

Result<policy::PolicySets> State::policies_for(const Workload& workload) const {
  if (!data_->policies_complete) {
    return fail(Code::kUnavailable, "control has not sent the authorization policies yet");
  }
  if (data_->policies_lost) {
    return fail(Code::kUnavailable, "there are more authorization policies than fit in memory");
  }
  const PolicyIndex& index = data_->authorization;
  const auto of_namespace = index.of_namespace.find(workload.ns);
  policy::PolicySets sets{
      index.of_mesh.get(),
      of_namespace == index.of_namespace.end() ? nullptr : of_namespace->second.get(), nullptr};
  if (workload.policies_key.empty()) return sets;
  auto named = index.named.find(workload.policies_key);
  if (named == index.named.end()) {
    // The caller's workload may be older than this State.
    const auto present = workload_by_uid(workload.uid);
    if (present != nullptr) named = index.named.find(present->policies_key);
    if (present != nullptr && present->policies_key.empty()) return sets;
  }
  if (named == index.named.end() || named->second.set == nullptr) {
    const std::string& missing = named == index.named.end()
                                     ? workload.authorization_policies.front()
                                     : named->second.missing;
    return fail(Code::kUnavailable, "workload " + workload.uid + " names the policy " + missing +
                                        ", which control has not sent");
  }
  sets[2] = named->second.set.get();
  return sets;
}

uint64_t State::policy_generation() const { return data_->policy_generation; }

}  // namespace weft::learn
