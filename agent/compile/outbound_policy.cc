#include "agent/compile/outbound_policy.h"

#include "agent/objects/mesh_config.h"

#include <tuple>

namespace weft::compile {

namespace {

using crd::networking::OutboundTrafficPolicy;
using crd::networking::Sidecar;

bool is_older(const Sidecar& one, const Sidecar& other) {
  const auto& a = one.metadata();
  const auto& b = other.metadata();
  return std::tie(a.creationtimestamp(), a.name()) < std::tie(b.creationtimestamp(), b.name());
}

// The oldest of the namespace that has a selector and selects the labels, or (null) that has none.
const Sidecar* oldest_in(const std::string& ns, const Labels* labels, const Store& store) {
  const Sidecar* oldest = nullptr;
  for (const auto& [name, sidecar] : store.sidecars.in(ns)) {
    const Labels& wanted = sidecar->spec().workloadselector().labels();
    const bool applies =
        labels == nullptr ? wanted.empty() : !wanted.empty() && selects(wanted, *labels);
    if (applies && (oldest == nullptr || is_older(*sidecar, *oldest))) oldest = sidecar.get();
  }
  return oldest;
}

}  // namespace

bool is_registry_only(const std::string& ns, const Labels& labels, const Store& store,
                      const MeshConfig& config) {
  const Sidecar* sidecar = oldest_in(ns, &labels, store);
  if (sidecar == nullptr) sidecar = oldest_in(ns, nullptr, store);
  if (sidecar == nullptr) sidecar = oldest_in(config.root_namespace, nullptr, store);
  if (sidecar == nullptr || !sidecar->spec().has_outboundtrafficpolicy()) {
    return config.registry_only;
  }
  return sidecar->spec().outboundtrafficpolicy().mode() == OutboundTrafficPolicy::REGISTRY_ONLY;
}

MeshConfig configured(const MeshConfig& given, const Store& store) {
  MeshConfig config = given;
  const objects::Key key = given.config_key();
  const auto* object = store.config_maps.find(key.ns, key.name);
  if (object == nullptr) return config;
  config.written = std::make_shared<const crd::mesh::MeshConfig>(objects::mesh_config_of(*object));
  const crd::mesh::MeshConfig& written = *config.written;
  if (written.has_outboundtrafficpolicy()) {
    config.registry_only =
        written.outboundtrafficpolicy().mode() == OutboundTrafficPolicy::REGISTRY_ONLY;
  }
  for (const std::string& alias : written.trustdomainaliases()) {
    config.trust_domain_aliases.push_back(alias);  // besides those of the command line
  }
  return config;
}

}  // namespace weft::compile
