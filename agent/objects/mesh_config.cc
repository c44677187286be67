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
