#include "agent/objects/names.h"
#include "agent/objects/validate.h"
#include "ztunnel/base/ip.h"

#include <array>

namespace weft::objects {

namespace security = crd::security;
using Strings = google::protobuf::RepeatedPtrField<std::string>;

namespace {

constexpr int kTargetRefsMax = 16;       // as the CRD says
constexpr int kServiceAccountsMax = 16;  // as the CRD says

constexpr std::array<std::string_view, 12> kConditionKeys = {"source.ip",
                                                             "remote.ip",
                                                             "source.namespace",
                                                             "source.serviceAccount",
                                                             "source.trustDomain",
                                                             "source.principal",
                                                             "destination.ip",
                                                             "destination.port",
                                                             "connection.sni",
                                                             "request.auth.principal",
                                                             "request.auth.audiences",
                                                             "request.auth.presenter"};

using Wrong = std::string (*)(std::string_view);

void check_each(const Strings& values, std::string_view field, Wrong wrong, Report& report) {
  const auto list = report.at(field);
  for (int i = 0; i < values.size(); ++i) {
    const std::string message =
        values[i].empty() ? "must not be empty" : (wrong != nullptr ? wrong(values[i]) : "");
    if (message.empty()) continue;
    const auto here = report.at(static_cast<size_t>(i));
    report.add(message);
  }
}

std::string quoted(std::string_view text) { return "\"" + std::string(text.substr(0, 120)) + "\""; }

std::string wrong_with_block(std::string_view text) {
  return Cidr::parse(text) ? "" : "expected an IP address or CIDR, got " + quoted(text);
}

std::string wrong_with_port(std::string_view text) {
  return parse_port(text) ? "" : "expected a port from 1 to 65535, got " + quoted(text);
}

// "*" stands alone, at the beginning or at the end; anywhere else it would be compared as itself,
// and a DENY with it would silently deny nothing.
std::string wrong_with_pattern(std::string_view text) {
  std::string_view inner = text;
  if (inner.starts_with('*')) {
    inner.remove_prefix(1);
  } else if (inner.ends_with('*')) {
    inner.remove_suffix(1);
  }
  if (!inner.contains('*')) return {};
  return "expected * only alone, at the beginning or at the end, got " + quoted(text);
}

std::string wrong_with_principal(std::string_view text) {
  if (text.starts_with("spiffe://")) {
    return "expected <trust domain>/ns/<namespace>/sa/<service account> without spiffe://, got " +
           quoted(text);
  }
  return wrong_with_pattern(text);
}

std::string wrong_with_account(std::string_view text) {
  const size_t slash = text.find('/');
  const std::string_view name = slash == std::string_view::npos ? text : text.substr(slash + 1);
  const bool ns_fits =
      slash == std::string_view::npos || wrong_with_label_name(text.substr(0, slash)).empty();
  if (ns_fits && wrong_with_subdomain(name).empty()) return {};
  return "expected <service account> or <namespace>/<service account>, got " + quoted(text);
}

void check_accounts(const security::Source& source, Report& report) {
  const bool has_identity = source.principals_size() + source.notprincipals_size() +
                                source.namespaces_size() + source.notnamespaces_size() >
                            0;
  const auto check = [&](const Strings& accounts, std::string_view field) {
    check_each(accounts, field, wrong_with_account, report);
    const auto here = report.at(field);
    if (accounts.size() > kServiceAccountsMax) {
      report.add("expected at most " + std::to_string(kServiceAccountsMax) + " values");
    } else if (!accounts.empty() && has_identity) {
      report.add("cannot stand beside principals or namespaces");
    }
  };
  check(source.serviceaccounts(), "serviceAccounts");
  check(source.notserviceaccounts(), "notServiceAccounts");
}

void check_source(const security::Source& source, Report& report) {
  if (source.ByteSizeLong() == 0) {
    report.add("must not be empty: leave \"from\" out to match every source");
    return;
  }
  check_each(source.principals(), "principals", wrong_with_principal, report);
  check_each(source.notprincipals(), "notPrincipals", wrong_with_principal, report);
  check_each(source.requestprincipals(), "requestPrincipals", nullptr, report);
  check_each(source.notrequestprincipals(), "notRequestPrincipals", nullptr, report);
  check_each(source.namespaces(), "namespaces", wrong_with_pattern, report);
  check_each(source.notnamespaces(), "notNamespaces", wrong_with_pattern, report);
  check_each(source.ipblocks(), "ipBlocks", wrong_with_block, report);
  check_each(source.notipblocks(), "notIpBlocks", wrong_with_block, report);
  check_each(source.remoteipblocks(), "remoteIpBlocks", wrong_with_block, report);
  check_each(source.notremoteipblocks(), "notRemoteIpBlocks", wrong_with_block, report);
  check_each(source.trustdomains(), "trustDomains", wrong_with_pattern, report);
  check_each(source.nottrustdomains(), "notTrustDomains", wrong_with_pattern, report);
  check_accounts(source, report);
}

void check_operation(const security::Operation& operation, Report& report) {
  if (operation.ByteSizeLong() == 0) {
    report.add("must not be empty: leave \"to\" out to match every operation");
    return;
  }
  check_each(operation.ports(), "ports", wrong_with_port, report);
  check_each(operation.notports(), "notPorts", wrong_with_port, report);
  check_each(operation.hosts(), "hosts", nullptr, report);
  check_each(operation.nothosts(), "notHosts", nullptr, report);
  check_each(operation.methods(), "methods", nullptr, report);
  check_each(operation.notmethods(), "notMethods", nullptr, report);
  check_each(operation.paths(), "paths", nullptr, report);
  check_each(operation.notpaths(), "notPaths", nullptr, report);
}

bool is_known_key(std::string_view key) {
  for (const std::string_view known : kConditionKeys) {
    if (key == known) return true;
  }
  const bool indexed = key.ends_with(']');
  return (key.starts_with("request.headers[") && indexed) ||
         (key.starts_with("request.auth.claims[") && indexed) ||
         key.starts_with("experimental.envoy.filters.");
}

Wrong wrong_with_values_of(std::string_view key) {
  if (key.ends_with(".ip")) return wrong_with_block;
  if (key == "destination.port") return wrong_with_port;
  if (key == "source.principal") return wrong_with_principal;
  if (key == "source.namespace") return wrong_with_pattern;
  if (key == "source.serviceAccount") return wrong_with_account;
  return nullptr;
}

void check_condition(const security::Condition& condition, Report& report) {
  if (!is_known_key(condition.key())) {
    const auto here = report.at("key");
    std::string expected;
    for (const std::string_view known : kConditionKeys) expected += std::string(known) + ", ";
    const std::vector<std::string_view> known(kConditionKeys.begin(), kConditionKeys.end());
    const std::string_view near = nearest(condition.key(), known);
    report.add("unknown key " + quoted(condition.key()) +
               (near.empty() ? "" : " (did you mean " + std::string(near) + "?)") +
               "; expected one of " + expected + "request.headers[..], request.auth.claims[..]");
    return;
  }
  if (condition.values().empty() && condition.notvalues().empty()) {
    report.add("expected values or notValues");
  }
  const Wrong wrong = wrong_with_values_of(condition.key());
  check_each(condition.values(), "values", wrong, report);
  check_each(condition.notvalues(), "notValues", wrong, report);
}

void check_rule(const security::Rule& rule, Report& report) {
  for (int i = 0; i < rule.from_size(); ++i) {
    const auto list = report.at("from");
    const auto here = report.at(static_cast<size_t>(i));
    const auto source = report.at("source");
    check_source(rule.from(i).source(), report);
  }
  for (int i = 0; i < rule.to_size(); ++i) {
    const auto list = report.at("to");
    const auto here = report.at(static_cast<size_t>(i));
    const auto operation = report.at("operation");
    check_operation(rule.to(i).operation(), report);
  }
  for (int i = 0; i < rule.when_size(); ++i) {
    const auto list = report.at("when");
    const auto here = report.at(static_cast<size_t>(i));
    check_condition(rule.when(i), report);
  }
}

void check_target(const crd::policy::TargetReference& target, std::string_view ns, Report& report) {
  const bool is_core = target.group().empty() || target.group() == "core";
  const bool known = (is_core && target.kind() == "Service") ||
                     (target.group() == "gateway.networking.k8s.io" &&
                      (target.kind() == "Gateway" || target.kind() == "GatewayClass")) ||
                     (target.group() == "networking.istio.io" && target.kind() == "ServiceEntry");
  if (!known) {
    const auto here = report.at("kind");
    report.add(
        "expected Service, gateway.networking.k8s.io/Gateway, "
        "gateway.networking.k8s.io/GatewayClass or networking.istio.io/ServiceEntry, got " +
        quoted(is_core ? target.kind() : target.group() + "/" + target.kind()));
  }
  if (!target.namespace_().empty() && target.namespace_() != ns) {
    const auto here = report.at("namespace");
    report.add("expected the policy's own namespace, got " + quoted(target.namespace_()));
  }
}

void check_targets(const security::AuthorizationPolicy& object, Report& report) {
  const security::AuthorizationPolicySpec& spec = object.spec();
  if (spec.has_targetref()) {
    const auto here = report.at("targetRef");
    check_target(spec.targetref(), object.metadata().namespace_(), report);
    if (spec.has_selector()) report.add("cannot stand beside selector");
    if (spec.targetrefs_size() > 0) report.add("cannot stand beside targetRefs");
  }
  const auto here = report.at("targetRefs");
  if (spec.targetrefs_size() > 0 && spec.has_selector()) report.add("cannot stand beside selector");
  if (spec.targetrefs_size() > kTargetRefsMax) {
    report.add("expected at most " + std::to_string(kTargetRefsMax) + " values");
  }
  for (int i = 0; i < spec.targetrefs_size(); ++i) {
    const auto element = report.at(static_cast<size_t>(i));
    check_target(spec.targetrefs(i), object.metadata().namespace_(), report);
  }
}

void check_selector(const crd::policy::WorkloadSelector& selector, Report& report) {
  const auto here = report.at("selector");
  check_labels(selector.matchlabels(), "matchLabels", report);
}

}  // namespace

void validate_authorization_policy(const security::AuthorizationPolicy& object, Report& report) {
  {
    const auto here = report.at("metadata");
    check_text(object.metadata().name(), "name", wrong_with_subdomain, report);
  }
  const auto at_spec = report.at("spec");
  const security::AuthorizationPolicySpec& spec = object.spec();
  check_selector(spec.selector(), report);
  check_targets(object, report);
  const bool custom = spec.action() == security::AuthorizationPolicySpec::CUSTOM;
  if (custom != spec.has_provider()) {
    const auto here = report.at("provider");
    report.add(custom ? "missing; expected a map, as the action is CUSTOM"
                      : "expected only with the action CUSTOM");
  }
  for (int i = 0; i < spec.rules_size(); ++i) {
    const auto list = report.at("rules");
    const auto here = report.at(static_cast<size_t>(i));
    check_rule(spec.rules(i), report);
  }
  if (spec.rules_size() == 0 && spec.action() != security::AuthorizationPolicySpec::ALLOW) {
    const auto here = report.at("rules");
    report.add("missing; expected a list, as the action is " +
               security::AuthorizationPolicySpec::Action_Name(spec.action()));
  }
}

void validate_peer_authentication(const security::PeerAuthentication& object, Report& report) {
  {
    const auto here = report.at("metadata");
    check_text(object.metadata().name(), "name", wrong_with_subdomain, report);
  }
  const auto at_spec = report.at("spec");
  const security::PeerAuthenticationSpec& spec = object.spec();
  check_selector(spec.selector(), report);
  const auto ports = report.at("portLevelMtls");
  if (!spec.portlevelmtls().empty() && spec.selector().matchlabels().empty()) {
    report.add("expected only with selector.matchLabels");
  }
  for (const auto& [port, mtls] : spec.portlevelmtls()) {
    if (port >= 1 && port <= 65535) continue;
    const auto here = report.at_key(std::to_string(port));
    report.add("expected a port from 1 to 65535");
  }
}

}  // namespace weft::objects
