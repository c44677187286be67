#include "agent/compile/notices.h"

#include "agent/compile/authorization_policy.h"
#include "agent/compile/l7/notices.h"
#include "agent/compile/outbound_policy.h"
#include "agent/compile/peer_authentication.h"
#include "agent/compile/service.h"
#include "agent/compile/service_entry.h"
#include "agent/compile/vip_allocation.h"
#include "agent/compile/waypoint_binding.h"
#include "agent/objects/mesh_config.h"
#include "agent/objects/stand_in.h"

#include <algorithm>

namespace weft::compile {

namespace {

// Kinds of other API groups (Secret, Role, ..) are no business of the mesh, so nothing is said.
bool is_mesh_group(std::string_view api_version) {
  const std::string_view group = api_version.substr(0, api_version.find('/'));
  return group.ends_with(".istio.io") || group == "gateway.networking.k8s.io";
}

constexpr const char* kAccepted = "Accepted";

// Why the object that this one stands for could not be read; empty: it stands for itself.
std::string_view unreadable(const objects::Object& object) {
  return value_of(object.metadata().annotations(), objects::kUnreadableAnnotation);
}

std::string said_of_unreadable(std::string_view reason) {
  return "cannot be read and never was good, so the strictest policy is in force for the workloads "
         "that it may have been for: " +
         std::string(reason);
}

using crd::networking::ServiceEntry;
using crd::networking::ServiceEntrySpec;
using Notices = std::vector<std::string>;

void about_export(Export found, bool names_others, Notices& notices) {
  if (found == Export::kAll && names_others) {
    notices.emplace_back("exportTo names single namespaces: all namespaces see it");
  }
}

template <class Texts>
bool names_others(const Texts& names, const std::string& own) {
  return std::ranges::any_of(names, [&](const std::string& name) {
    return name != "." && name != "*" && name != "~" && name != own;
  });
}

void about_endpoint(const crd::networking::WorkloadEntrySpec& spec, Notices& notices) {
  if (spec.address().starts_with("unix://")) {
    notices.emplace_back(spec.address() + ": a unix socket is on one node only and is left out");
  } else if (spec.address().empty()) {
    notices.emplace_back("an endpoint without an address, behind the gateway of network \"" +
                         spec.network() + "\", is left out: there is no way to other networks");
  } else if (!spec.network().empty()) {
    notices.emplace_back(spec.address() + " is on the network \"" + spec.network() +
                         "\": there is no way to other networks");
  }
}

Notices about_entry(const ServiceEntry& entry) {
  const ServiceEntrySpec& spec = entry.spec();
  Notices notices;
  if (spec.resolution() == ServiceEntrySpec::DYNAMIC_DNS) {
    notices.emplace_back("resolution DYNAMIC_DNS needs a waypoint: its hosts are not known");
    return notices;
  }
  const auto& own = entry.metadata().namespace_();
  const Export exported = export_of(spec.exportto(), own);
  if (exported == Export::kNobody) notices.emplace_back("exportTo \"~\": nobody sees its hosts");
  about_export(exported, names_others(spec.exportto(), own), notices);
  for (const std::string& host : hosts_of(entry)) {
    if (!addresses_given(entry, host).empty()) continue;
    const bool is_wildcard = host.starts_with('*');
    if (!is_wildcard && wants_addresses(entry)) continue;
    notices.push_back(
        host + ": " +
        (is_wildcard ? "a wildcard"
                     : "a host that is given no address, with no addresses written,") +
        " is not recognised by its address: its traffic goes as that of a host that is not known");
  }
  for (const auto& endpoint : spec.endpoints()) about_endpoint(endpoint, notices);
  return notices;
}

Notices about_service(const crd::core::Service& service) {
  Notices notices;
  const auto& meta = service.metadata();
  const std::string_view distribution =
      value_of(meta.annotations(), std::string(kDistributionAnnotation));
  if (!distribution.empty() && distribution != "Any" &&
      preference_of(distribution) == model::Preference::kNone) {
    notices.push_back(std::string(kDistributionAnnotation) + ": unknown value \"" +
                      std::string(distribution) +
                      "\"; expected PreferSameZone, PreferSameNode, PreferClose or Any");
  }
  return notices;
}

Notices about_sidecar(const crd::networking::Sidecar& sidecar) {
  Notices notices;
  if (!sidecar.spec().egress().empty() || !sidecar.spec().ingress().empty()) {
    notices.emplace_back("only outboundTrafficPolicy of a Sidecar is honoured, not its listeners");
  }
  if (sidecar.spec().outboundtrafficpolicy().has_egressproxy()) {
    notices.emplace_back("outboundTrafficPolicy.egressProxy is not honoured");
  }
  return notices;
}

// What is written in the mesh's configuration and is decided elsewhere.
Notices about_mesh(const crd::core::ConfigMap& object, const MeshConfig& config) {
  Notices notices;
  const auto& meta = object.metadata();
  if (!is_mesh_config(config, {"ConfigMap", meta.namespace_(), meta.name()})) return notices;
  const crd::mesh::MeshConfig written = objects::mesh_config_of(object);
  const auto differs = [&](const char* field, const std::string& value, const char* flag,
                           const std::string& given) {
    if (value.empty() || value == given) return;
    notices.push_back(std::string("mesh.") + field + " \"" + value +
                      "\" has no effect: control runs with " + flag + "=" + given);
  };
  differs("trustDomain", written.trustdomain(), "--trust-domain", config.trust_domain);
  differs("rootNamespace", written.rootnamespace(), "--root-namespace", config.root_namespace);
  return notices;
}

}  // namespace

std::vector<source::Condition> conditions_of(const objects::Object& object,
                                             const MeshConfig& config) {
  const auto ztunnel = [](std::string reason, std::string message) {
    const bool accepted = reason == kAccepted;
    return std::vector<source::Condition>{{.type = "ZtunnelAccepted",
                                           .is_true = accepted,
                                           .reason = std::move(reason),
                                           .message = std::move(message)}};
  };
  if (const std::string_view reason = unreadable(object); !reason.empty()) {
    return ztunnel("Invalid", said_of_unreadable(reason));
  }
  const auto* policy = object.as<crd::security::AuthorizationPolicy>();
  if (policy == nullptr) return {};
  if (policy->spec().has_targetref() || policy->spec().targetrefs_size() > 0) {
    return {{.type = "WaypointAccepted",
             .is_true = false,
             .reason = "UnsupportedValue",
             .message = "waypoints do not enforce it yet: what it guards there is refused"}};
  }
  std::string unsupported = compile_policy(*policy, config).unsupported;
  if (!unsupported.empty()) return ztunnel("UnsupportedValue", std::move(unsupported));
  return ztunnel(kAccepted, "attached to ztunnel");
}

std::vector<std::string> notices_about(const objects::Object& object, const MeshConfig& config) {
  std::vector<std::string> notices;
  if (const std::string_view reason = unreadable(object); !reason.empty()) {
    return {said_of_unreadable(reason)};
  }
  if (const auto* policy = object.as<crd::security::AuthorizationPolicy>()) {
    notices = compile_policy(*policy, config).notices;
  } else if (const auto* peer = object.as<crd::security::PeerAuthentication>()) {
    notices = notices_of(*peer, config);
  } else if (const auto* service = object.as<crd::core::Service>()) {
    notices = about_service(*service);
  } else if (const auto* entry = object.as<ServiceEntry>()) {
    notices = about_entry(*entry);
  } else if (const auto* workload = object.as<crd::networking::WorkloadEntry>()) {
    about_endpoint(workload->spec(), notices);
  } else if (const auto* sidecar = object.as<crd::networking::Sidecar>()) {
    notices = about_sidecar(*sidecar);
  } else if (const auto* map = object.as<crd::core::ConfigMap>()) {
    notices = about_mesh(*map, config);
  } else if (const auto* gateway = object.as<crd::gateway_api::Gateway>();
             (gateway != nullptr && is_waypoint(*gateway)) || l7::is_l7(object) ||
             object.as<crd::gateway_api::GatewayClass>() != nullptr) {
    return {};
  } else if (is_mesh_group(object.api_version())) {
    return {"is accepted and not yet honoured"};
  }
  return notices;
}

}  // namespace weft::compile
