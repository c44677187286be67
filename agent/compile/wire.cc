#include "agent/compile/wire.h"

#include "proto/authorization.pb.h"
#include "proto/workload.pb.h"
#include "ztunnel/base/check.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <openssl/sha.h>

#include <array>

namespace weft::compile {

namespace {

namespace workload_api = istio::workload;
namespace security_api = istio::security;

std::string deterministic_bytes(const google::protobuf::Message& message) {
  std::string bytes;
  {
    google::protobuf::io::StringOutputStream stream(&bytes);
    google::protobuf::io::CodedOutputStream coded(&stream);
    coded.SetSerializationDeterministic(true);
    CHECK(message.SerializeToCodedStream(&coded));
  }
  return bytes;
}

// Half of a SHA-256: nobody can make two objects whose change would go unnoticed.
std::string version_of(std::string_view bytes) {
  constexpr const char* kHex = "0123456789abcdef";
  std::array<unsigned char, SHA256_DIGEST_LENGTH> digest{};
  SHA256(reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size(), digest.data());
  std::string text;
  for (size_t i = 0; i < digest.size() / 2; ++i) {
    text += kHex[digest[i] >> 4];
    text += kHex[digest[i] & 0xf];
  }
  return text;
}

void add_port(const model::PortPair& pair, workload_api::Port& port) {
  port.set_service_port(pair.service);
  port.set_target_port(pair.target);
}

workload_api::WorkloadType type_of(model::WorkloadType type) {
  switch (type) {
    case model::WorkloadType::kDeployment:
      return workload_api::DEPLOYMENT;
    case model::WorkloadType::kJob:
      return workload_api::JOB;
    case model::WorkloadType::kCronJob:
      return workload_api::CRONJOB;
    case model::WorkloadType::kPod:
      return workload_api::POD;
  }
  return workload_api::POD;
}

workload_api::IPFamilies families_of(model::IpFamilies families) {
  switch (families) {
    case model::IpFamilies::kV4:
      return workload_api::IPV4_ONLY;
    case model::IpFamilies::kV6:
      return workload_api::IPV6_ONLY;
    case model::IpFamilies::kDual:
      return workload_api::DUAL;
    case model::IpFamilies::kAny:
      return workload_api::AUTOMATIC;
  }
  return workload_api::AUTOMATIC;
}

void fill_locality(const model::Workload& workload, workload_api::Workload& message) {
  const model::Locality& locality = workload.locality;
  if (locality.region.empty() && locality.zone.empty() && locality.subzone.empty()) return;
  message.mutable_locality()->set_region(locality.region);
  message.mutable_locality()->set_zone(locality.zone);
  message.mutable_locality()->set_subzone(locality.subzone);
}

void fill_addresses(const model::Service& service, workload_api::Service& message) {
  for (const Cidr& range : service.addresses) {
    workload_api::NetworkAddress& address = *message.add_addresses();
    address.set_address(range.address().to_bytes());
    const bool is_whole = range.length() == (range.address().is_v4() ? 32U : 128U);
    if (!is_whole) address.set_length(range.length());
  }
}

void fill_waypoint(const model::Waypoint& waypoint, workload_api::GatewayAddress& message) {
  message.mutable_hostname()->set_namespace_(waypoint.ns);
  message.mutable_hostname()->set_hostname(waypoint.hostname);
  message.set_hbone_mtls_port(waypoint.port);
}

void fill_balancing(const model::Service& service, workload_api::Service& message) {
  using Balancing = workload_api::LoadBalancing;
  const auto prefer = [&](Balancing::Mode mode, std::initializer_list<Balancing::Scope> scopes) {
    message.mutable_load_balancing()->set_mode(mode);
    for (const auto scope : scopes) message.mutable_load_balancing()->add_routing_preference(scope);
  };
  switch (service.preference) {
    case model::Preference::kNone:
      break;
    case model::Preference::kSameZone:
      prefer(Balancing::FAILOVER, {Balancing::NETWORK, Balancing::REGION, Balancing::ZONE});
      break;
    case model::Preference::kSameNode:
      prefer(Balancing::FAILOVER, {Balancing::NETWORK, Balancing::REGION, Balancing::ZONE,
                                   Balancing::SUBZONE, Balancing::NODE});
      break;
    case model::Preference::kOnlySameNode:
      prefer(Balancing::STRICT, {Balancing::NODE});
      break;
    case model::Preference::kPassthrough:
      prefer(Balancing::PASSTHROUGH, {});
      break;
  }
  if (service.unready_too) {
    message.mutable_load_balancing()->set_health_policy(Balancing::ALLOW_ALL);
  }
}

void add_patterns(const std::vector<model::Pattern>& patterns,
                  google::protobuf::RepeatedPtrField<security_api::StringMatch>& into) {
  for (const model::Pattern& pattern : patterns) {
    security_api::StringMatch& match = *into.Add();
    switch (pattern.kind) {
      case model::Pattern::Kind::kExact:
        match.set_exact(pattern.text);
        break;
      case model::Pattern::Kind::kPrefix:
        match.set_prefix(pattern.text);
        break;
      case model::Pattern::Kind::kSuffix:
        match.set_suffix(pattern.text);
        break;
      case model::Pattern::Kind::kPresent:
        match.mutable_presence();
        break;
    }
  }
}

void add_blocks(const std::vector<Cidr>& blocks,
                google::protobuf::RepeatedPtrField<security_api::Address>& into) {
  for (const Cidr& block : blocks) {
    security_api::Address& address = *into.Add();
    address.set_address(block.address().to_bytes());
    address.set_length(block.length());
  }
}

void add_accounts(const std::vector<model::Account>& accounts,
                  google::protobuf::RepeatedPtrField<security_api::ServiceAccountMatch>& into) {
  for (const model::Account& account : accounts) {
    security_api::ServiceAccountMatch& match = *into.Add();
    match.set_namespace_(account.ns);
    match.set_serviceaccount(account.name);
  }
}

void fill_match(const model::Match& from, security_api::Match& match) {
  add_patterns(from.namespaces, *match.mutable_namespaces());
  add_patterns(from.not_namespaces, *match.mutable_not_namespaces());
  add_patterns(from.principals, *match.mutable_principals());
  add_patterns(from.not_principals, *match.mutable_not_principals());
  add_blocks(from.sources, *match.mutable_source_ips());
  add_blocks(from.not_sources, *match.mutable_not_source_ips());
  add_blocks(from.destinations, *match.mutable_destination_ips());
  add_blocks(from.not_destinations, *match.mutable_not_destination_ips());
  add_accounts(from.accounts, *match.mutable_service_accounts());
  add_accounts(from.not_accounts, *match.mutable_not_service_accounts());
  match.mutable_destination_ports()->Add(from.ports.begin(), from.ports.end());
  match.mutable_not_destination_ports()->Add(from.not_ports.begin(), from.not_ports.end());
}

security_api::Scope scope_of(model::Policy::Scope scope) {
  switch (scope) {
    case model::Policy::Scope::kMesh:
      return security_api::GLOBAL;
    case model::Policy::Scope::kNamespace:
      return security_api::NAMESPACE;
    case model::Policy::Scope::kSelected:
      return security_api::WORKLOAD_SELECTOR;
  }
  return security_api::GLOBAL;
}

}  // namespace

Resource to_resource(const char* type, std::string name, const google::protobuf::Message& message) {
  Resource resource{.type = type, .name = std::move(name), .version = {}, .bytes = {}};
  resource.bytes = deterministic_bytes(message);
  resource.version = version_of(resource.bytes);
  return resource;
}

Resource removal_of(const Resource& resource) {
  return {
      .type = resource.type, .name = resource.name, .version = {}, .bytes = {}, .removed = true};
}

Resource to_resource(const model::Workload& workload) {
  workload_api::Address address;
  workload_api::Workload& message = *address.mutable_workload();
  message.set_uid(workload.uid);
  message.set_name(workload.name);
  message.set_namespace_(workload.ns);
  for (const IpAddress& ip : workload.addresses) message.add_addresses(ip.to_bytes());
  message.set_tunnel_protocol(workload.hbone ? workload_api::HBONE : workload_api::NONE);
  message.set_native_tunnel(workload.native_tunnel);
  if (const auto& tunnel = workload.application_tunnel) {
    workload_api::ApplicationTunnel& out = *message.mutable_application_tunnel();
    out.set_protocol(tunnel->proxy_protocol ? workload_api::ApplicationTunnel::PROXY
                                            : workload_api::ApplicationTunnel::NONE);
    out.set_port(tunnel->port);
  }
  // Empty stands for it on the wire.
  if (workload.trust_domain != "cluster.local") message.set_trust_domain(workload.trust_domain);
  message.set_service_account(workload.service_account);
  message.set_node(workload.node);
  message.set_canonical_name(workload.canonical_name);
  message.set_canonical_revision(workload.canonical_revision);
  message.set_workload_type(type_of(workload.type));
  message.set_workload_name(workload.workload_name);
  for (const auto& [key, pairs] : workload.services) {
    workload_api::PortList& list = (*message.mutable_services())[key];
    for (const model::PortPair& pair : pairs) add_port(pair, *list.add_ports());
  }
  for (const std::string& key : workload.policies) message.add_authorization_policies(key);
  message.set_status(workload.healthy ? workload_api::HEALTHY : workload_api::UNHEALTHY);
  message.set_cluster_id(workload.cluster_id);
  message.set_network_mode(workload.host_network ? workload_api::HOST_NETWORK
                                                 : workload_api::STANDARD);
  message.set_hostname(workload.hostname);
  message.set_network(workload.network);
  if (workload.waypoint) fill_waypoint(*workload.waypoint, *message.mutable_waypoint());
  fill_locality(workload, message);
  if (workload.capacity != 1) message.mutable_capacity()->set_value(workload.capacity);
  message.set_serving_while_terminating(workload.serving_while_terminating);
  message.set_registry_only(workload.registry_only);
  message.set_pod_hostname(workload.pod_hostname);
  message.set_pod_subdomain(workload.pod_subdomain);
  for (const std::string& subset : workload.subsets) message.add_subsets(subset);
  return to_resource(kAddressType, workload.uid, address);
}

Resource to_resource(const model::Service& service) {
  workload_api::Address address;
  workload_api::Service& message = *address.mutable_service();
  message.set_name(service.name);
  message.set_namespace_(service.ns);
  message.set_hostname(service.hostname);
  fill_addresses(service, message);
  for (const model::ServicePort& port : service.ports) {
    workload_api::Port& added = *message.add_ports();
    add_port(port.ports, added);
    added.set_name(port.name);
  }
  for (const std::string& name : service.subject_alt_names) message.add_subject_alt_names(name);
  fill_balancing(service, message);
  message.set_ip_families(families_of(service.families));
  if (service.waypoint) fill_waypoint(*service.waypoint, *message.mutable_waypoint());
  message.set_canonical(service.canonical);
  if (service.only_own_namespace) message.set_visibility(workload_api::NAMESPACE);
  if (service.affinity_timeout_s > 0) {
    message.mutable_session_affinity()->set_client_ip_timeout_s(service.affinity_timeout_s);
  }
  message.set_external_name(service.external_name);
  return to_resource(kAddressType, service.key(), address);
}

Resource to_resource(const model::Policy& policy) {
  security_api::Authorization message;
  message.set_name(policy.name);
  message.set_namespace_(policy.ns);
  message.set_scope(scope_of(policy.scope));
  message.set_action(policy.action == model::Policy::Action::kDeny ? security_api::DENY
                                                                   : security_api::ALLOW);
  for (const model::Rule& from_rule : policy.rules) {
    security_api::Rule& rule = *message.add_rules();
    for (const model::Clause& from_clause : from_rule.all_of) {
      security_api::Clause& clause = *rule.add_clauses();
      for (const model::Match& match : from_clause.any_of) fill_match(match, *clause.add_matches());
    }
  }
  message.set_dry_run(policy.dry_run);
  return to_resource(kAuthorizationType, policy.key(), message);
}

}  // namespace weft::compile
