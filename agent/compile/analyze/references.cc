#include "agent/compile/analyze/checks.h"
#include "agent/compile/waypoint_binding.h"
#include "proto/crd/networking.pb.h"

#include <algorithm>
#include <functional>
#include <optional>

namespace weft::analyze {

namespace {

using crd::security::AuthorizationPolicy;
using google::protobuf::Value;
using Strings = google::protobuf::RepeatedPtrField<std::string>;

bool is_pattern(std::string_view text) { return text.starts_with('*') || text.ends_with('*'); }

std::string account_of(const crd::core::Pod& pod) {
  const auto& spec = pod.spec();
  if (!spec.serviceaccountname().empty()) return spec.serviceaccountname();
  const std::string& old_name = spec.serviceaccount().string_value();
  return old_name.empty() ? "default" : old_name;
}

struct Account {
  std::string ns;
  std::string name;
};

// "<trust domain>/ns/<namespace>/sa/<account>"; nothing for a pattern.
std::optional<Account> account_in_principal(const std::string& principal) {
  const size_t ns = principal.find("/ns/");
  const size_t sa = principal.find("/sa/");
  if (is_pattern(principal) || ns == std::string::npos || sa == std::string::npos || sa < ns) {
    return std::nullopt;
  }
  return Account{principal.substr(ns + 4, sa - ns - 4), principal.substr(sa + 4)};
}

Account account_in_name(const std::string& text, const std::string& own_ns) {
  const size_t slash = text.find('/');
  if (slash == std::string::npos) return {own_ns, text};
  return {text.substr(0, slash), text.substr(slash + 1)};
}

// Judges the sources that one policy names.
class Sources {
 public:
  Sources(const Cluster& cluster, const AuthorizationPolicy& policy, Findings& findings)
      : cluster_(cluster),
        key_{"AuthorizationPolicy", policy.metadata().namespace_(), policy.metadata().name()},
        findings_(findings) {}

  void namespaces(const Strings& names) {
    for (const std::string& name : names) {
      if (is_pattern(name) || cluster_.has_namespace(name)) continue;
      findings_.add(kMissing, key_,
                    "namespace \"" + name + "\", named as a source, does not exist");
    }
  }
  void principals(const Strings& principals) {
    for (const std::string& principal : principals) {
      if (const auto account = account_in_principal(principal)) judge(*account, principal);
    }
  }
  void accounts(const Strings& names) {
    for (const std::string& name : names) judge(account_in_name(name, key_.ns), name);
  }

 private:
  void judge(const Account& account, const std::string& written) {
    if (!cluster_.has_namespace(account.ns)) {
      findings_.add(
          kMissing, key_,
          "namespace \"" + account.ns + "\" of the source " + written + " does not exist");
      return;
    }
    const auto there = cluster_.matching(account.ns, {});
    if (there.empty() || !cluster_.knows_pods_of(account.ns)) return;  // nobody can tell
    const bool runs = std::ranges::any_of(
        there, [&](const Shape* shape) { return account_of(shape->pod) == account.name; });
    const auto* gateway = cluster_.store().gateways.find(account.ns, account.name);
    if (runs || (gateway != nullptr && compile::is_waypoint(*gateway))) return;
    findings_.add(kNobodyRunsAs, key_,
                  "no workload in namespace " + account.ns + " runs as the service account \"" +
                      account.name + "\" that the source " + written + " names");
  }

  const Cluster& cluster_;
  objects::Key key_;
  Findings& findings_;
};

void for_each_policy(const Cluster& cluster,
                     const std::function<void(const AuthorizationPolicy&)>& call) {
  for (const auto& [ns, policies] : cluster.store().policies.all()) {
    for (const auto& [name, policy] : policies) call(*policy);
  }
}

// The Service that a host of an Istio route means; nothing for one outside the cluster.
std::optional<std::pair<std::string, std::string>> service_in_host(
    const std::string& host, const std::string& own_ns, const compile::MeshConfig& config) {
  if (host.empty() || host.contains('*')) return std::nullopt;
  if (!host.contains('.')) return std::pair(own_ns, host);
  const std::string suffix = ".svc." + config.cluster_domain;
  if (!host.ends_with(suffix)) return std::nullopt;
  const std::string front = host.substr(0, host.size() - suffix.size());
  const size_t dot = front.find('.');
  if (dot == std::string::npos) return std::nullopt;
  return std::pair(front.substr(dot + 1), front.substr(0, dot));
}

// The host of every Destination in the message.
void collect_destinations(const google::protobuf::Message& message, std::set<std::string>& hosts) {
  if (message.GetDescriptor() == crd::networking::Destination::descriptor()) {
    hosts.insert(static_cast<const crd::networking::Destination&>(message).host());
    return;
  }
  const google::protobuf::Reflection& reflection = *message.GetReflection();
  std::vector<const google::protobuf::FieldDescriptor*> fields;
  reflection.ListFields(message, &fields);
  for (const auto* field : fields) {
    if (field->cpp_type() != google::protobuf::FieldDescriptor::CPPTYPE_MESSAGE) continue;
    if (!field->is_repeated()) {
      collect_destinations(reflection.GetMessage(message, field), hosts);
      continue;
    }
    for (int i = 0; i < reflection.FieldSize(message, field); ++i) {
      collect_destinations(reflection.GetRepeatedMessage(message, field, i), hosts);
    }
  }
}

}  // namespace

void check_own_namespaces(const Cluster& cluster, Findings& findings) {
  for (const ObjectPtr& object : cluster.objects()) {
    const objects::Key key = object->key();
    const bool is_mesh = object->api_version().contains("istio.io/") ||
                         object->api_version().starts_with("gateway.networking.k8s.io/");
    if (!is_mesh || key.ns.empty() || cluster.has_namespace(key.ns)) continue;
    findings.add(kMissing, key, "its namespace \"" + key.ns + "\" does not exist");
  }
}

void check_sources(const Cluster& cluster, Findings& findings) {
  for_each_policy(cluster, [&](const AuthorizationPolicy& policy) {
    Sources sources(cluster, policy, findings);
    for (const auto& rule : policy.spec().rules()) {
      for (const auto& from : rule.from()) {
        sources.namespaces(from.source().namespaces());
        sources.namespaces(from.source().notnamespaces());
        sources.principals(from.source().principals());
        sources.principals(from.source().notprincipals());
        sources.accounts(from.source().serviceaccounts());
        sources.accounts(from.source().notserviceaccounts());
      }
      for (const auto& when : rule.when()) {
        for (const Strings* values : {&when.values(), &when.notvalues()}) {
          if (when.key() == "source.namespace") sources.namespaces(*values);
          if (when.key() == "source.principal") sources.principals(*values);
          if (when.key() == "source.serviceAccount") sources.accounts(*values);
        }
      }
    }
  });
}

void check_targets(const Cluster& cluster, Findings& findings) {
  for_each_policy(cluster, [&](const AuthorizationPolicy& policy) {
    const auto& meta = policy.metadata();
    const auto check = [&](const crd::policy::TargetReference& target) {
      if (target.kind() == "GatewayClass") return;  // made by controllers, rarely in manifests
      const bool is_entry = target.kind() == "ServiceEntry";
      const std::string ns = target.namespace_().empty() ? meta.namespace_() : target.namespace_();
      if (target.kind() != "Service" && target.kind() != "Gateway" && !is_entry) return;
      if (cluster.has(target.kind(), ns, target.name())) return;
      findings.add(
          kMissing, {"AuthorizationPolicy", meta.namespace_(), meta.name()},
          "its target, the " + target.kind() + " " + ns + "/" + target.name() + ", does not exist");
    };
    if (policy.spec().has_targetref()) check(policy.spec().targetref());
    for (const auto& target : policy.spec().targetrefs()) check(target);
  });
}

void check_route_hosts(const Cluster& cluster, Findings& findings) {
  for (const ObjectPtr& object : cluster.objects()) {
    const auto* rule = object->as<crd::networking::DestinationRule>();
    const auto* routes = object->as<crd::networking::VirtualService>();
    const bool is_rule = rule != nullptr;
    std::set<std::string> hosts;
    if (is_rule) hosts.insert(rule->spec().host());
    if (routes != nullptr) collect_destinations(routes->spec(), hosts);
    const objects::Key key = object->key();
    for (const std::string& host : hosts) {
      const auto service = service_in_host(host, key.ns, cluster.config());
      if (!service || cluster.has("Service", service->first, service->second)) continue;
      findings.add(
          is_rule ? kUnknownHost : kMissing, key,
          "host \"" + host + "\": there is no Service " + service->first + "/" + service->second);
    }
  }
}

}  // namespace weft::analyze
