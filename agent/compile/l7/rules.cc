#include "agent/compile/l7/rules.h"

#include "agent/compile/l7/hosts.h"

namespace weft::l7 {

namespace {

using crd::networking::Destination;
using crd::networking::HttpMatch;
using crd::networking::VirtualService;

Rule with_whole_hosts(Rule rule, const std::string& ns, const compile::MeshConfig& config) {
  const auto complete = [&](Destination& destination) {
    destination.set_host(full_host(destination.host(), ns, config.cluster_domain));
  };
  for (auto& route : *rule.mutable_route()) complete(*route.mutable_destination());
  if (rule.has_mirror()) complete(*rule.mutable_mirror());
  for (auto& mirror : *rule.mutable_mirrors()) complete(*mirror.mutable_destination());
  return rule;
}

// A VirtualService that others delegate to has no hosts and gateways of its own.
bool can_be_delegate(const VirtualService& object) {
  return object.spec().hosts().empty() && object.spec().gateways().empty() &&
         object.spec().tls().empty() && object.spec().tcp().empty();
}

void add_delegated(const Rule& root, const std::string& root_ns, std::vector<Rule>& rules,
                   Resolver& resolver) {
  const std::string& written = root.delegate().namespace_();
  const std::string& ns = written.empty() ? root_ns : written;
  const compile::MeshConfig& config = resolver.config();
  resolver.note({"VirtualService", ns, root.delegate().name()});
  const VirtualService* delegate =
      resolver.store().virtual_services.find(ns, root.delegate().name());
  if (delegate == nullptr || !can_be_delegate(*delegate)) return;
  const google::protobuf::RepeatedPtrField<std::string> everybody;
  const auto& otherwise =
      config.written == nullptr ? everybody : config.written->defaultvirtualserviceexportto();
  if (!is_exported_to(delegate->spec().exportto(), otherwise, ns, root_ns)) return;
  for (const Rule& own : delegate->spec().http()) {
    if (own.has_delegate()) continue;  // one level
    Rule merged = with_whole_hosts(own, ns, config);
    if (merge_rule(root, merged)) rules.push_back(std::move(merged));
  }
}

}  // namespace

std::vector<Rule> rules_of(const VirtualService& object, Resolver& resolver) {
  const std::string& ns = object.metadata().namespace_();
  std::vector<Rule> rules;
  for (const Rule& written : object.spec().http()) {
    Rule rule = with_whole_hosts(written, ns, resolver.config());
    if (rule.has_delegate()) {
      add_delegated(rule, ns, rules, resolver);
    } else {
      rules.push_back(std::move(rule));
    }
  }
  return rules;
}

}  // namespace weft::l7
