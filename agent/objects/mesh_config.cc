#include "agent/objects/mesh_config.h"

#include "agent/objects/reader.h"
#include "agent/objects/tree.h"
#include "ztunnel/base/spiffe_id.h"

namespace weft::objects {

namespace {

bool is_trust_domain(const std::string& text) {
  return SpiffeId::parse(SpiffeId{text, "ns", "sa"}.to_string()).has_value();
}

}  // namespace

namespace {

void check_requirement(const crd::mesh::LabelSelectorRequirement& requirement, Report& report) {
  const std::string& operation = requirement.operator_();
  const bool wants_values = operation == "In" || operation == "NotIn";
  if (!wants_values && operation != "Exists" && operation != "DoesNotExist") {
    const auto here = report.at("operator");
    report.add("expected In, NotIn, Exists or DoesNotExist, got \"" + operation + "\"");
  } else if (wants_values == requirement.values().empty()) {
    const auto here = report.at("values");
    report.add(wants_values ? "expected at least one" : "expected none with " + operation);
  }
  if (!requirement.key().empty()) return;
  const auto here = report.at("key");
  report.add("expected a label's name");
}

// A selector that is wrong would leave out namespaces, and with them their policies.
void check_selectors(const crd::mesh::MeshConfig& config, Report& report) {
  const auto list = report.at("discoverySelectors");
  for (int i = 0; i < config.discoveryselectors_size(); ++i) {
    const auto one = report.at(static_cast<size_t>(i));
    const auto expressions = report.at("matchExpressions");
    const auto& selector = config.discoveryselectors(i);
    for (int k = 0; k < selector.matchexpressions_size(); ++k) {
      const auto here = report.at(static_cast<size_t>(k));
      check_requirement(selector.matchexpressions(k), report);
    }
  }
}

}  // namespace

bool is_mesh_config_map(std::string_view name) {
  return name == kMeshConfigMap ||
         (name.starts_with(kMeshConfigMap) && name.substr(kMeshConfigMap.size()).starts_with("-"));
}

crd::mesh::MeshConfig read_mesh_config(std::string_view text, Report& report) {
  crd::mesh::MeshConfig config;
  const YamlDocuments yaml = parse_yaml(text);
  for (const Error& error : yaml.error) report.add(error.message);
  if (!yaml.error.empty() || yaml.documents.empty()) return config;
  if (yaml.documents.size() > 1) {
    report.add("expected one YAML document, got " + std::to_string(yaml.documents.size()));
    return config;
  }
  if (yaml.documents.front().is_null()) return config;
  read_message(yaml.documents.front(), config, report);
  if (!config.trustdomain().empty() && !is_trust_domain(config.trustdomain())) {
    const auto here = report.at("trustDomain");
    report.add("expected letters, digits, '.', '-' and '_'");
  }
  check_selectors(config, report);
  const auto list = report.at("trustDomainAliases");
  for (int i = 0; i < config.trustdomainaliases_size(); ++i) {
    if (is_trust_domain(config.trustdomainaliases(i))) continue;
    const auto here = report.at(static_cast<size_t>(i));
    report.add("expected letters, digits, '.', '-' and '_'");
  }
  return config;
}

crd::mesh::MeshConfig mesh_config_of(const crd::core::ConfigMap& object) {
  const auto text = object.data().find(kMeshConfigKey);
  if (text == object.data().end()) return {};
  Report ignored("ConfigMap");
  crd::mesh::MeshConfig config = read_mesh_config(text->second, ignored);
  return ignored.empty() ? config : crd::mesh::MeshConfig();
}

}  // namespace weft::objects
