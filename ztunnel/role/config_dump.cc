#include "ztunnel/role/config_dump.h"

#include "ztunnel/learn/state_data.h"
#include "ztunnel/policy/matchers.h"
#include "ztunnel/tls/credentials.h"

#include <google/protobuf/struct.pb.h>
#include <google/protobuf/util/json_util.h>

#include <algorithm>
#include <ctime>
#include <map>

namespace weft::role {
namespace {

using google::protobuf::ListValue;
using google::protobuf::Struct;
using google::protobuf::Value;

Value& field(Struct& object, const std::string& name) { return (*object.mutable_fields())[name]; }

void set(Struct& object, const std::string& name, const std::string& value) {
  field(object, name).set_string_value(value);
}

void set(Struct& object, const std::string& name, uint32_t value) {
  field(object, name).set_number_value(value);
}

// A list is there even where it is empty.
ListValue& list(Struct& object, const std::string& name) {
  return *field(object, name).mutable_list_value();
}

std::string text_of(const Struct& object) {
  std::string json;
  return google::protobuf::util::MessageToJsonString(object, &json).ok() ? json : "{}";
}

void set_ports(Struct& object, const std::string& name,
               const std::unordered_map<uint16_t, uint16_t>& ports) {
  Struct& map = *field(object, name).mutable_struct_value();
  for (const auto& [service, target] : ports) set(map, std::to_string(service), uint32_t{target});
}

void set_application_tunnel(Struct& entry, const learn::ApplicationTunnel& tunnel) {
  Struct& out = *field(entry, "applicationTunnel").mutable_struct_value();
  set(out, "protocol", tunnel.proxy_protocol ? "PROXY" : "NONE");
  if (tunnel.port != 0) set(out, "port", uint32_t{tunnel.port});
}

const char* name_of(learn::Scope scope) {
  switch (scope) {
    case learn::Scope::kRegion:
      return "Region";
    case learn::Scope::kZone:
      return "Zone";
    case learn::Scope::kSubzone:
      return "Subzone";
    case learn::Scope::kNode:
      return "Node";
    case learn::Scope::kCluster:
      return "Cluster";
    case learn::Scope::kNetwork:
      return "Network";
  }
  return "";
}

const char* name_of(learn::Balancing::Mode mode) {
  switch (mode) {
    case learn::Balancing::Mode::kAnywhere:
      return "Standard";
    case learn::Balancing::Mode::kStrict:
      return "Strict";
    case learn::Balancing::Mode::kFailover:
      return "Failover";
    case learn::Balancing::Mode::kPassthrough:
      return "Passthrough";
  }
  return "";
}

void set_balancing(Struct& entry, const learn::Balancing& balancing) {
  Struct& out = *field(entry, "loadBalancer").mutable_struct_value();
  ListValue& scopes = list(out, "routingPreferences");
  for (const learn::Scope scope : balancing.scopes) {
    scopes.add_values()->set_string_value(name_of(scope));
  }
  set(out, "mode", name_of(balancing.mode));
  set(out, "healthPolicy", balancing.unready_too ? "AllowAll" : "OnlyHealthy");
  if (balancing.client_affinity) set(out, "sessionAffinity", "ClientIP");
}

void set_locality(Struct& entry, const learn::Locality& locality) {
  Struct& out = *field(entry, "locality").mutable_struct_value();
  if (!locality.region.empty()) set(out, "region", locality.region);
  if (!locality.zone.empty()) set(out, "zone", locality.zone);
  if (!locality.subzone.empty()) set(out, "subzone", locality.subzone);
}

// Of several the first one: Istio's shape has one.
void set_waypoint(Struct& entry, const std::vector<learn::Waypoint>& waypoints) {
  if (waypoints.empty()) return;
  const learn::Waypoint& waypoint = waypoints.front();
  Struct& out = *field(entry, "waypoint").mutable_struct_value();
  set(out, "destination",
      waypoint.address ? "/" + waypoint.address->to_string() : waypoint.service);
  set(out, "hboneMtlsPort", uint32_t{waypoint.port});
}

Struct workload_entry(const learn::Workload& workload) {
  Struct entry;
  set(entry, "uid", workload.uid);
  set(entry, "name", workload.name);
  set(entry, "namespace", workload.ns);
  set(entry, "node", workload.node);
  set(entry, "clusterId", workload.cluster_id);
  set(entry, "trustDomain", workload.identity.trust_domain);
  set(entry, "serviceAccount", workload.identity.service_account);
  set(entry, "canonicalName", workload.canonical_name);
  set(entry, "canonicalRevision", workload.canonical_revision);
  set(entry, "workloadName", workload.workload_name);
  set(entry, "workloadType", workload.workload_type);
  set(entry, "protocol", workload.hbone ? "HBONE" : "TCP");
  set(entry, "status", workload.healthy ? "Healthy" : "Unhealthy");
  set(entry, "networkMode", workload.host_network ? "HostNetwork" : "Standard");
  set(entry, "capacity", workload.capacity);
  set(entry, "hostname", workload.hostname);
  set(entry, "network", workload.network);
  set_locality(entry, workload.locality);
  set_waypoint(entry, workload.waypoints);
  if (workload.registry_only) set(entry, "outboundTrafficPolicy", "REGISTRY_ONLY");
  if (workload.application_tunnel) set_application_tunnel(entry, *workload.application_tunnel);
  ListValue& addresses = list(entry, "workloadIps");
  for (const IpAddress& ip : workload.addresses) {
    addresses.add_values()->set_string_value(ip.to_string());
  }
  ListValue& policies = list(entry, "authorizationPolicies");
  for (const std::string& key : workload.authorization_policies) {
    policies.add_values()->set_string_value(key);
  }
  ListValue& services = list(entry, "services");
  for (const auto& [key, ports] : workload.services) services.add_values()->set_string_value(key);
  return entry;
}

Struct service_entry(const learn::Service& service) {
  Struct entry;
  set(entry, "name", service.name);
  set(entry, "namespace", service.ns);
  set(entry, "hostname", service.hostname);
  ListValue& vips = list(entry, "vips");
  for (const IpAddress& ip : service.vips) {  // "network/address"; the network's name is empty
    vips.add_values()->set_string_value("/" + ip.to_string());
  }
  for (const Cidr& range : service.vip_ranges) {
    vips.add_values()->set_string_value("/" + range.to_string());
  }
  set_ports(entry, "ports", service.ports);
  set_balancing(entry, service.balancing);
  set_waypoint(entry, service.waypoints);
  if (service.families != learn::IpFamilies::kAny) {
    set(entry, "ipFamilies",
        service.families == learn::IpFamilies::kDual ? "Dual"
        : service.families == learn::IpFamilies::kV4 ? "IPv4"
                                                     : "IPv6");
  }
  if (!service.external_name.empty()) set(entry, "externalName", service.external_name);
  if (service.only_own_namespace) set(entry, "visibility", "Namespace");
  ListValue& names = list(entry, "subjectAltNames");
  for (const SpiffeId& name : service.subject_alt_names) {
    names.add_values()->set_string_value(name.to_string());
  }
  Struct& endpoints = *field(entry, "endpoints").mutable_struct_value();
  for (const learn::Endpoint& endpoint : service.endpoints) {
    Struct& one = *field(endpoints, endpoint.workload->uid).mutable_struct_value();
    set(one, "workloadUid", endpoint.workload->uid);
    set(one, "service", service.ns + "/" + service.hostname);
    set(one, "status", endpoint.workload->healthy ? "Healthy" : "Unhealthy");
    set_ports(one, "port", endpoint.ports);
  }
  return entry;
}

// Fields of a match are written where they say something.

void set_match(Struct& match, const std::string& name, const policy::StringSet& values) {
  if (values.empty()) return;
  ListValue& out = list(match, name);
  const auto add = [&out](const char* how, const std::string& text) {
    set(*out.add_values()->mutable_struct_value(), how, text);
  };
  for (const std::string& text : values.exact) add("Exact", text);
  for (const std::string& text : values.prefixes) add("Prefix", text);
  for (const std::string& text : values.suffixes) add("Suffix", text);
  if (values.presence) list(*out.add_values()->mutable_struct_value(), "Presence");
}

void set_match(Struct& match, const std::string& name, const policy::CidrSet& values) {
  if (values.empty()) return;
  ListValue& out = list(match, name);
  for (const Cidr& cidr : values.prefixes) out.add_values()->set_string_value(cidr.to_string());
}

void set_match(Struct& match, const std::string& name, const policy::SortedSet<uint32_t>& values) {
  if (values.empty()) return;
  ListValue& out = list(match, name);
  for (const uint32_t port : values.values) out.add_values()->set_number_value(port);
}

void set_match(Struct& match, const std::string& name,
               const policy::SortedSet<policy::ServiceAccount>& values) {
  if (values.empty()) return;
  ListValue& out = list(match, name);
  for (const auto& [ns, account] : values.values) {
    Struct& one = *out.add_values()->mutable_struct_value();
    set(one, "namespace", ns);
    set(one, "serviceAccount", account);
  }
}

template <class Set>
void set_field(Struct& match, std::string name, const policy::Field<Set>& values) {
  set_match(match, name, values.any);
  name[0] = static_cast<char>(name[0] - 'a' + 'A');
  set_match(match, "not" + name, values.none);
}

void set_match(Struct& out, const policy::Match& match) {
  set_field(out, "namespaces", match.namespaces);
  set_field(out, "principals", match.principals);
  set_field(out, "serviceAccounts", match.service_accounts);
  set_field(out, "sourceIps", match.source_ips);
  set_field(out, "destinationIps", match.destination_ips);
  set_field(out, "destinationPorts", match.destination_ports);
}

const char* name_of(istio::security::Scope scope) {
  switch (scope) {
    case istio::security::GLOBAL:
      return "Global";
    case istio::security::NAMESPACE:
      return "Namespace";
    default:
      return "WorkloadSelector";
  }
}

Struct policy_entry(const policy::Policy& policy) {
  Struct entry;
  const size_t slash = policy.key.find('/');
  set(entry, "namespace", policy.key.substr(0, slash));
  set(entry, "name", policy.key.substr(slash + 1));
  set(entry, "scope", name_of(policy.scope));
  set(entry, "action", policy.action == istio::security::DENY ? "Deny" : "Allow");
  field(entry, "dryRun").set_bool_value(policy.dry_run);
  if (!policy.caveat.empty()) set(entry, "caveat", policy.caveat);
  ListValue& rules = list(entry, "rules");
  for (const policy::Rule& rule : policy.rules) {
    ListValue& clauses = *rules.add_values()->mutable_list_value();
    for (const policy::Clause& clause : rule.clauses) {
      ListValue& matches = *clauses.add_values()->mutable_list_value();
      for (const policy::Match& match : clause.matches) {
        set_match(*matches.add_values()->mutable_struct_value(), match);
      }
    }
  }
  return entry;
}

void add_certificates(Struct& entry, const std::string& name, const std::string& pem) {
  ListValue& out = list(entry, name);
  const auto facts = tls::facts_of(pem);
  if (!facts) return;
  for (const tls::CertificateFacts& certificate : *facts) {
    Struct& one = *out.add_values()->mutable_struct_value();
    set(one, "pem", certificate.pem);
    set(one, "serialNumber", certificate.serial);
    set(one, "validFrom", rfc3339(certificate.not_before));
    set(one, "expirationTime", rfc3339(certificate.not_after));
  }
}

// Istio's words for what a certificate's state is.
std::string state_of(const std::string& state) {
  constexpr std::string_view kFailed = "failed: ";
  if (state == "available") return "Available";
  if (state.starts_with(kFailed)) return "Unavailable: " + state.substr(kFailed.size());
  return "Initializing";
}

Struct certificate_entry(const learn::LearnerStatus::Certificate& certificate,
                         const tls::Credentials* credentials) {
  Struct entry;
  set(entry, "identity", certificate.identity.to_string());
  set(entry, "state", state_of(certificate.state));
  std::string chain;
  if (credentials != nullptr) {
    for (const std::string& pem : credentials->chain_pem) chain += pem + "\n";
  }
  add_certificates(entry, "certChain", chain);
  add_certificates(entry, "rootCerts", credentials != nullptr ? credentials->roots_pem : "");
  return entry;
}

void add_connections(Struct& entry, const std::string& name,
                     const std::vector<OpenConnection>& connections) {
  ListValue& out = list(entry, name);
  for (const OpenConnection& connection : connections) {
    Struct& one = *out.add_values()->mutable_struct_value();
    set(one, "src", connection.source.to_string());
    if (!connection.original.empty()) set(one, "originalDst", connection.original);
    set(one, "actualDst", connection.actual);
    set(one, "protocol", connection.hbone ? "HBONE" : "TCP");
  }
}

Struct pod_entry(const learn::Pod& pod, const learn::State& state,
                 const PodConnections& connections) {
  Struct entry;
  set(entry, "state", "Up");
  Struct& open = *field(entry, "connections").mutable_struct_value();
  add_connections(open, "inbound", connections.inbound);
  add_connections(open, "outbound", connections.outbound);
  Struct& info = *field(entry, "info").mutable_struct_value();
  set(info, "name", pod.name);
  set(info, "namespace", pod.ns);
  set(info, "serviceAccount", pod.service_account);
  const auto workload = state.workload_of_pod(pod.ns, pod.name);
  set(info, "trustDomain", workload != nullptr ? workload->identity.trust_domain : "");
  return entry;
}

// The table's values in the order of their keys, as a JSON list.
template <class Table, class Entry>
std::string list_of(const Table& table, Entry entry) {
  std::vector<const typename Table::value_type*> sorted;
  sorted.reserve(table.size());
  for (const auto& item : table) sorted.push_back(&item);
  std::ranges::sort(sorted, {}, [](const auto* item) { return std::string_view(item->first); });
  std::string text = "[";
  for (const auto* item : sorted) {
    text += (text.size() > 1 ? ",\n" : "\n") + text_of(entry(*item->second));
  }
  return text + "]";
}

std::string certificates_of(const ConfigDump& dump) {
  std::map<SpiffeId, const tls::Credentials*> by_identity;
  for (const auto& one : dump.credentials) by_identity[one->identity] = one.get();
  std::string text = "[";
  for (const auto& certificate : dump.certificates) {
    const auto found = by_identity.find(certificate.identity);
    text += (text.size() > 1 ? ",\n" : "\n") +
            text_of(certificate_entry(certificate,
                                      found == by_identity.end() ? nullptr : found->second));
  }
  return text + "]";
}

std::string pods_of(const ConfigDump& dump) {
  static const PodConnections kNone;
  std::string text = "{";
  for (const auto& pod : dump.pods) {
    const auto found = dump.connections.pods.find(pod->uid);
    const PodConnections& open = found == dump.connections.pods.end() ? kNone : found->second;
    // The uid as JSON writes it: it came over ZDS.
    Struct one;
    *field(one, pod->uid).mutable_struct_value() = pod_entry(*pod, *dump.state, open);
    const std::string member = text_of(one);
    text += (text.size() > 1 ? ",\n" : "\n") + member.substr(1, member.size() - 2);
  }
  return text + "}";
}

std::string version_of() {
  Struct version;
  set(version, "version", WEFT_VERSION);
  return text_of(version);
}

std::string config_of(const ConfigDump& dump) {
  Struct config;
  for (const auto& [name, value] : dump.config) set(config, name, value);
  return text_of(config);
}

// Only where something is missing, for whoever would take the list for the whole.
std::string connections_caveat(const Connections& connections) {
  if (connections.complete && connections.omitted == 0) return "";
  Struct caveat;
  set(caveat, "omitted", static_cast<uint32_t>(connections.omitted));
  field(caveat, "complete").set_bool_value(connections.complete);
  return ",\n\"connectionsCaveat\":" + text_of(caveat);
}

}  // namespace

std::string rfc3339(std::chrono::system_clock::time_point time) {
  const std::time_t seconds = std::chrono::system_clock::to_time_t(time);
  tm parts{};
  gmtime_r(&seconds, &parts);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text;
}

std::string to_json(const ConfigDump& dump) {
  const learn::State::Data& data = dump.state->data();
  return "{\"workloads\":" + list_of(data.workloads, workload_entry) +
         ",\n\"services\":" + list_of(data.services, service_entry) +
         ",\n\"policies\":" + list_of(data.authorization.policies, policy_entry) +
         ",\n\"certificates\":" + certificates_of(dump) + ",\n\"workloadState\":" + pods_of(dump) +
         connections_caveat(dump.connections) +
         ",\n\"stagedServices\":{},\n\"staticConfig\":{\"workloads\":[],\"services\":[],"
         "\"policies\":[]}" +
         ",\n\"version\":" + version_of() + ",\n\"config\":" + config_of(dump) + "}\n";
}

}  // namespace weft::role
