#include "agent/compile/l7/destination_rules.h"

#include "agent/compile/l7/hosts.h"
#include "agent/compile/l7/order.h"

#include <algorithm>

namespace weft::l7 {

namespace {

using crd::networking::DestinationRule;
using Rules = std::vector<const DestinationRule*>;

// A rule with a selector is for clients of its own namespace; a waypoint's pods have its name.
bool is_for(const DestinationRule& rule, const Asker& asker) {
  const compile::Labels& wanted = rule.spec().workloadselector().matchlabels();
  if (wanted.empty()) return true;
  if (rule.metadata().namespace_() != asker.ns || asker.waypoint.empty()) return false;
  compile::Labels own;
  own["gateway.networking.k8s.io/gateway-name"] = asker.waypoint;
  own["istio.io/gateway-name"] = asker.waypoint;
  return compile::selects(wanted, own);
}

bool is_seen(const DestinationRule& rule, const Asker& asker, const compile::MeshConfig& config) {
  const std::string& own = rule.metadata().namespace_();
  const google::protobuf::RepeatedPtrField<std::string> everybody;
  return own == asker.ns || is_exported_to(rule.spec().exportto(),
                                           config.written == nullptr
                                               ? everybody
                                               : config.written->defaultdestinationruleexportto(),
                                           own, asker.ns);
}

void add_rule(const DestinationRule& rule, HostRule& merged) {
  const auto& meta = rule.metadata();
  if (merged.origin.empty()) {
    merged.origin = "DestinationRule " + meta.namespace_() + "/" + meta.name();
  }
  if (merged.policy == nullptr && rule.spec().has_trafficpolicy()) {
    merged.policy = &rule.spec().trafficpolicy();
  }
  for (const auto& subset : rule.spec().subsets()) {
    const bool known = std::ranges::any_of(
        merged.subsets, [&](const auto* one) { return one->name() == subset.name(); });
    if (!known) merged.subsets.push_back(&subset);
  }
}

std::optional<HostRule> rule_in(const std::string& ns, const std::string& host, const Asker& asker,
                                const compile::Store& store, const compile::MeshConfig& config) {
  Rules rules;
  std::string pattern;
  for (const std::string& name : store.destination_rules_by_host.matching(ns, host)) {
    const DestinationRule* rule = store.destination_rules.find(ns, name);
    if (rule == nullptr || !is_for(*rule, asker) || !is_seen(*rule, asker, config)) continue;
    const std::string own = full_host(rule->spec().host(), ns, config.cluster_domain);
    if (pattern.empty()) pattern = own;  // the index gives the most exact ones first
    if (own == pattern) rules.push_back(rule);
  }
  if (rules.empty()) return std::nullopt;
  const auto is_selective = [](const DestinationRule* rule) {
    return !rule->spec().workloadselector().matchlabels().empty();
  };
  std::ranges::sort(rules, [&](const auto* one, const auto* other) {
    if (is_selective(one) != is_selective(other)) return is_selective(one);
    return is_older(one->metadata(), other->metadata());
  });
  HostRule merged;
  merged.ns = ns;
  for (const DestinationRule* rule : rules) add_rule(*rule, merged);
  return merged;
}

void add_subsets(const HostRule& rule, const Name& service, const compile::Labels& labels,
                 const compile::MeshConfig& config, std::vector<std::string>& all) {
  for (const auto* subset : rule.subsets) {
    if (!compile::selects(subset->labels(), labels)) continue;
    all.push_back(service.first + "/" + service.second + "/" +
                  subset_key(subset->name(), rule.ns, service, config));
  }
}

}  // namespace

std::optional<HostRule> rule_for(const Name& service, const Asker& asker,
                                 const compile::Store& store, const compile::MeshConfig& config) {
  std::vector<std::string> order;
  if (asker.ns != config.root_namespace) order.push_back(asker.ns);
  for (const std::string& ns : {service.first, config.root_namespace}) {
    if (std::ranges::find(order, ns) == order.end()) order.push_back(ns);
  }
  for (const std::string& ns : order) {
    if (auto rule = rule_in(ns, service.second, asker, store, config)) return rule;
  }
  return std::nullopt;
}

std::string subset_key(const std::string& subset, const std::string& rule_ns, const Name& service,
                       const compile::MeshConfig& config) {
  if (rule_ns == service.first || rule_ns == config.root_namespace) return subset;
  return subset + "@" + rule_ns;
}

std::vector<std::string> subsets_of(const compile::Labels& labels,
                                    const std::vector<std::string>& services,
                                    const compile::Store& store,
                                    const compile::MeshConfig& config) {
  std::vector<std::string> all;
  for (const std::string& key : services) {
    const size_t slash = key.find('/');
    const Name service(key.substr(0, slash), key.substr(slash + 1));
    const Asker own{service.first, {}};
    if (const auto rule = rule_for(service, own, store, config)) {
      add_subsets(*rule, service, labels, config, all);
    }
    for (const auto& ns : store.destination_rules_by_host.namespaces_with(service.second)) {
      if (ns == service.first || ns == config.root_namespace) continue;
      const auto rule = rule_in(ns, service.second, {ns, {}}, store, config);
      if (rule) add_subsets(*rule, service, labels, config, all);
    }
  }
  std::ranges::sort(all);
  return all;
}

}  // namespace weft::l7
