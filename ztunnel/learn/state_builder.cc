#include "ztunnel/learn/state_builder.h"

#include "ztunnel/base/log.h"
#include "ztunnel/learn/resources.h"
#include "ztunnel/learn/unpack.h"

#include <algorithm>
#include <utility>

namespace weft::learn {
namespace {

std::string pod_key(const Workload& workload) { return workload.ns + "/" + workload.name; }

bool is_pod(const Workload& workload) {
  const UidParts parts = split_uid(workload.uid);
  return parts.kind.empty() || parts.kind == "Pod";
}

std::vector<Cidr> ranges_of(const Service& service) {
  std::vector<Cidr> ranges = service.vip_ranges;
  for (const IpAddress& ip : service.vips) {
    if (const auto whole = Cidr::make(ip, ip.is_v4() ? 32 : 128)) ranges.push_back(*whole);
  }
  return ranges;
}

Result<void> check_name(const XdsResource& resource, const std::string& expected) {
  if (resource.name() == expected) return {};
  return fail(Code::kInvalid, "the resource's name differs from its content's: " + expected);
}

}  // namespace

StateBuilder::StateBuilder(std::string cluster_id, std::string network)
    : cluster_id_(std::move(cluster_id)), network_(std::move(network)) {}

std::vector<StateBuilder::Rejection> StateBuilder::apply(const DeltaResponse& response) {
  std::vector<Rejection> rejections;
  const bool addresses = response.type_url() == kAddressType;
  if (!addresses && response.type_url() != kAuthorizationType) {
    rejections.push_back({"", "nobody asked for type \"" + response.type_url() + "\""});
    return rejections;
  }
  for (const XdsResource& resource : response.resources()) {
    const Result<void> applied = addresses ? apply_address(resource) : apply_policy(resource);
    if (!applied) rejections.push_back({resource.name(), applied.error().to_string()});
  }
  for (const std::string& name : response.removed_resources()) {
    addresses ? remove_address(name) : remove_policy(name);
  }
  for (const std::string& name : std::exchange(condemned_, {})) remove_policy(name);
  bool& complete = addresses ? data_.addresses_complete : data_.policies_complete;
  if (!std::exchange(complete, true) || policies_changed_) urgent_ = true;
  return rejections;
}

Result<void> StateBuilder::apply_address(const XdsResource& resource) {
  const auto address = TRY(unpack<istio::workload::Address>(resource, kAddressType));
  const auto known = addresses_.find(resource.name());
  if (known == addresses_.end() && addresses_.size() >= kAddressesMax) {
    return fail(Code::kLimit, "more than " + std::to_string(kAddressesMax) + " addresses");
  }
  if (!address.has_workload() && !address.has_service()) {
    return fail(Code::kInvalid, "expected a workload or a service");
  }
  // A name that changes its kind leaves nothing of the old one behind.
  const bool changes_kind =
      known != addresses_.end() && known->second.is_workload != address.has_workload();
  if (address.has_workload()) {
    auto workload = TRY(parse_workload(address.workload(), network_));
    TRY(check_name(resource, workload->uid));
    if (changes_kind) remove_address(resource.name());
    put_workload(std::move(workload));
  } else {
    auto service = TRY(parse_service(address.service(), network_));
    TRY(check_name(resource, service->ns + "/" + service->hostname));
    if (changes_kind) remove_address(resource.name());
    put_service(resource.name(), std::move(service));
  }
  addresses_[resource.name()] = {std::make_shared<XdsResource>(resource), true,
                                 address.has_workload()};
  return {};
}

void StateBuilder::remove_address(const std::string& name) {
  const auto known = addresses_.find(name);
  if (known == addresses_.end()) return;
  known->second.is_workload ? remove_workload(name) : remove_service(name);
  addresses_.erase(name);
}

bool StateBuilder::wins(const Workload& one, const Workload& other) const {
  const auto rank = [this](const Workload& w) {
    return std::tuple(w.cluster_id == cluster_id_ ? 0 : 1, is_pod(w) ? 0 : 1,
                      std::string_view(w.uid));
  };
  return rank(one) < rank(other);
}

template <class Map, class Key>
void StateBuilder::claim(Map& table, std::map<Key, std::vector<typename Map::mapped_type>>& claims,
                         const Key& key, typename Map::mapped_type value) {
  auto& claimants = claims[key];
  const auto behind =
      std::ranges::find_if(claimants, [&](const auto& other) { return wins(*value, *other); });
  claimants.insert(behind, std::move(value));
  table[key] = claimants.front();
}

template <class Map, class Key>
void StateBuilder::unclaim(Map& table,
                           std::map<Key, std::vector<typename Map::mapped_type>>& claims,
                           const Key& key, const typename Map::mapped_type& value) {
  const auto found = claims.find(key);
  if (found == claims.end()) return;
  std::erase(found->second, value);
  if (found->second.empty()) {
    claims.erase(found);
    table.erase(key);
  } else {
    table[key] = found->second.front();
  }
}

// A workload that is new with policies is not urgent, but may have been here before, and have
// connections.
void StateBuilder::note_policies(const Workload& workload) {
  const auto known = data_.workloads.find(workload.uid);
  const bool is_new = known == data_.workloads.end();
  const auto& policies = workload.authorization_policies;
  if (is_new ? policies.empty() : policies == known->second->authorization_policies) return;
  ++data_.policy_generation;
  if (!is_new) urgent_ = true;
}

void StateBuilder::put_workload(std::shared_ptr<const Workload> workload) {
  note_policies(*workload);
  remove_workload(workload->uid);
  if (!workload->host_network) {
    for (const IpAddress& ip : workload->addresses) {
      claim(data_.workloads_by_ip, ip_claims_, ip, workload);
    }
  }
  if (is_pod(*workload)) claim(data_.pods, pod_claims_, pod_key(*workload), workload);
  data_.names.add(workload);
  for (const auto& [key, ports] : workload->services) {
    members_[key][workload->uid] = workload;
    services_to_rebuild_.insert(key);
  }
  policies_.add_workload(*workload);
  std::string uid = workload->uid;
  data_.workloads[std::move(uid)] = std::move(workload);
}

void StateBuilder::remove_workload(const std::string& uid) {
  const auto found = data_.workloads.find(uid);
  if (found == data_.workloads.end()) return;
  const std::shared_ptr<const Workload> workload = std::move(found->second);
  data_.workloads.erase(found);
  for (const IpAddress& ip : workload->addresses) {
    unclaim(data_.workloads_by_ip, ip_claims_, ip, workload);
  }
  if (is_pod(*workload)) unclaim(data_.pods, pod_claims_, pod_key(*workload), workload);
  data_.names.remove(workload);
  for (const auto& [key, ports] : workload->services) {
    const auto members = members_.find(key);
    if (members == members_.end()) continue;
    members->second.erase(workload->uid);
    if (members->second.empty()) members_.erase(members);
    services_to_rebuild_.insert(key);
  }
  policies_.remove_workload(*workload);
}

void StateBuilder::put_service(const std::string& key, std::shared_ptr<const Service> service) {
  service_specs_[key] = std::move(service);
  services_to_rebuild_.insert(key);
}

void StateBuilder::remove_service(const std::string& key) {
  service_specs_.erase(key);
  services_to_rebuild_.insert(key);
}

void StateBuilder::rebuild_service(const std::string& key) {
  const auto present = data_.services.find(key);
  if (present != data_.services.end()) {
    for (const Cidr& range : ranges_of(*present->second)) {
      data_.vips.remove(range, present->second);
    }
    data_.names.remove(present->second);
    data_.services.erase(present);
  }
  const auto spec = service_specs_.find(key);
  if (spec == service_specs_.end()) return;
  auto service = std::make_shared<Service>(*spec->second);
  const auto members = members_.find(key);
  if (members != members_.end()) {
    service->endpoints.reserve(members->second.size());
    for (const auto& [uid, workload] : members->second) {
      Endpoint& endpoint = service->endpoints.emplace_back(workload, workload->services.at(key));
      for (const auto& [port, target] : service->ports) {
        if (target != 0) endpoint.ports.try_emplace(port, target);
      }
    }
  }
  service->candidates = candidates_of(*service);
  for (const Cidr& range : ranges_of(*service)) data_.vips.add(range, service);
  data_.names.add(std::shared_ptr<const Service>(service));
  data_.services[key] = std::move(service);
}

Result<void> StateBuilder::apply_policy(const XdsResource& resource) {
  condemned_.erase(resource.name());
  auto authorization = unpack<istio::security::Authorization>(resource, kAuthorizationType);
  const auto compiled = [&]() -> Result<std::shared_ptr<const policy::Policy>> {
    if (!authorization) return Fail(authorization.error());
    auto policy = TRY(policy::compile(*authorization));
    TRY(check_name(resource, policy::key_of(*policy)));
    return policy;
  }();
  const auto known = authorizations_.find(resource.name());
  if (known == authorizations_.end() && authorizations_.size() >= kPoliciesMax) {
    data_.policies_lost = policies_changed_ = true;
    return fail(Code::kLimit, "more than " + std::to_string(kPoliciesMax) +
                                  " policies: every connection is refused until a restart");
  }
  if (!compiled) {
    const bool has_good = known != authorizations_.end() && known->second.good;
    const bool never_decides = authorization && authorization->dry_run();
    if (!has_good && !never_decides) TRY(deny_in_place_of(resource));
    return Fail(compiled.error());
  }
  if (const std::string& caveat = policy::caveat_of(**compiled); !caveat.empty()) {
    log::warn("xds")
        .field("policy", resource.name())
        .field("reason", caveat)
        .say("a policy of a newer control plane decides against every caller");
  }
  policies_.put(data_.authorization, resource.name(), *compiled);
  authorizations_[resource.name()] = {std::make_shared<XdsResource>(resource), true, false};
  policies_changed_ = true;
  return {};
}

// The name is all that is sure of such a resource; scope and namespace are taken from it where they
// can be read.
Result<void> StateBuilder::deny_in_place_of(const XdsResource& resource) {
  istio::security::Authorization denial;
  const auto original = unpack<istio::security::Authorization>(resource, kAuthorizationType);
  const size_t slash = resource.name().find('/');
  const bool named = slash != std::string::npos && slash + 1 < resource.name().size();
  denial.set_namespace_(named ? resource.name().substr(0, slash) : "");
  denial.set_name(named ? resource.name().substr(slash + 1) : resource.name() + "?");
  denial.set_action(istio::security::DENY);
  denial.add_rules();
  const bool scope_known = original && named && original->namespace_() == denial.namespace_() &&
                           original->name() == denial.name() &&
                           istio::security::Scope_IsValid(original->scope());
  denial.set_scope(scope_known ? original->scope() : istio::security::GLOBAL);
  if (denial.scope() == istio::security::NAMESPACE && denial.namespace_().empty()) {
    denial.set_scope(istio::security::GLOBAL);
  }
  policies_.put(data_.authorization, resource.name(), TRY(policy::compile(denial)));
  authorizations_[resource.name()] = {std::make_shared<XdsResource>(resource), false, false};
  policies_changed_ = true;
  log::error("xds")
      .field("policy", resource.name())
      .bare("scope", istio::security::Scope_Name(denial.scope()))
      .say("a policy that cannot be read denies everyone in its scope");
  return {};
}

// One that a workload names stays until the end of the response at least: an updated workload may
// name it again.
void StateBuilder::remove_policy(const std::string& name) {
  if (policies_.is_named(name)) {
    condemned_.insert(name);
    return;
  }
  authorizations_.erase(name);
  policies_.erase(data_.authorization, name);
  policies_changed_ = true;
}

std::shared_ptr<const State> StateBuilder::publish() {
  for (const std::string& key : services_to_rebuild_) rebuild_service(key);
  services_to_rebuild_.clear();
  policies_.rebuild(data_.authorization);
  if (policies_changed_) ++data_.policy_generation;
  policies_changed_ = false;
  urgent_ = false;
  return std::make_shared<const State>(std::make_shared<const State::Data>(data_));
}

std::map<std::string, std::string> StateBuilder::versions(std::string_view type) const {
  std::map<std::string, std::string> result;
  for (const auto& [name, stored] : type == kAddressType ? addresses_ : authorizations_) {
    result[name] = stored.good ? stored.resource->version() : "";
  }
  return result;
}

std::vector<std::shared_ptr<const XdsResource>> StateBuilder::resources(
    std::string_view type) const {
  std::vector<std::shared_ptr<const XdsResource>> result;
  for (const auto& [name, stored] : type == kAddressType ? addresses_ : authorizations_) {
    result.push_back(stored.resource);
  }
  return result;
}

}  // namespace weft::learn
