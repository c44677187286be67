#include "agent/objects/kinds.h"

#include "agent/objects/validate.h"
#include "proto/crd/core.pb.h"
#include "proto/crd/envoy_filter.pb.h"
#include "proto/crd/extensions.pb.h"
#include "proto/crd/gateway_api.pb.h"
#include "proto/crd/gateway_routes.pb.h"
#include "proto/crd/networking.pb.h"
#include "proto/crd/opaque.pb.h"
#include "proto/crd/rules.pb.h"
#include "proto/crd/security.pb.h"
#include "proto/crd/telemetry.pb.h"

namespace weft::objects {

namespace {

using Versions = std::vector<std::string_view>;

constexpr std::string_view kGatewayApi = "gateway.networking.k8s.io";

// Calls a validator that takes the kind's own message.
template <class Message, void (*check)(const Message&, Report&)>
void typed(const google::protobuf::Message& message, Report& report) {
  check(static_cast<const Message&>(message), report);
}

template <class Message, void (*check)(const Message&, Report&) = nullptr>
Kind read_kind(std::string_view name, std::string_view group, Versions versions,
               bool namespaced = true) {
  Kind kind{name,    group, std::move(versions), namespaced, &Message::default_instance(),
            nullptr, name};
  if constexpr (check != nullptr) kind.validate = &typed<Message, check>;
  return kind;
}

// A kind of a CRD: what it is called stands beside its message. Without a check the fields' types
// and rules are all that is looked at.
template <class Message, void (*check)(const Message&, Report&) = nullptr>
Kind mesh_kind(std::string_view key_name = {}) {
  const auto& rules = Message::descriptor()->options().GetExtension(crd::kind);
  const std::string_view name = Message::descriptor()->name();
  Kind kind{name,
            rules.group(),
            {rules.versions().begin(), rules.versions().end()},
            true,
            &Message::default_instance(),
            nullptr,
            key_name.empty() ? name : key_name};
  if constexpr (check != nullptr) kind.validate = &typed<Message, check>;
  return kind;
}

Kind opaque_kind(std::string_view name, std::string_view group, Versions versions,
                 bool namespaced = true, std::string_view key_name = {}) {
  return {name,
          group,
          std::move(versions),
          namespaced,
          &crd::opaque::Opaque::default_instance(),
          nullptr,
          key_name.empty() ? name : key_name};
}

void add_core(std::vector<Kind>& all) {
  namespace core = crd::core;
  all.push_back(read_kind<core::Namespace, validate_namespace>("Namespace", "", {"v1"}, false));
  all.push_back(
      read_kind<core::ServiceAccount, validate_service_account>("ServiceAccount", "", {"v1"}));
  all.push_back(read_kind<core::ConfigMap, validate_config_map>("ConfigMap", "", {"v1"}));
  all.push_back(read_kind<core::Service, validate_service>("Service", "", {"v1"}));
  all.push_back(read_kind<core::Pod, validate_pod>("Pod", "", {"v1"}));
  all.push_back(read_kind<core::Deployment, validate_deployment>("Deployment", "apps", {"v1"}));
  all.push_back(read_kind<core::Node, validate_node>("Node", "", {"v1"}, false));
  all.push_back(read_kind<core::EndpointSlice, validate_endpoint_slice>(
      "EndpointSlice", "discovery.k8s.io", {"v1"}));
}

void add_istio(std::vector<Kind>& all) {
  namespace net = crd::networking;
  namespace security = crd::security;
  all.push_back(mesh_kind<security::AuthorizationPolicy, validate_authorization_policy>());
  all.push_back(mesh_kind<security::PeerAuthentication, validate_peer_authentication>());
  all.push_back(mesh_kind<security::RequestAuthentication>());
  all.push_back(mesh_kind<net::ServiceEntry, validate_service_entry>());
  all.push_back(mesh_kind<net::WorkloadEntry, validate_workload_entry>());
  all.push_back(mesh_kind<net::WorkloadGroup>());
  all.push_back(mesh_kind<net::Sidecar, validate_sidecar>());
  all.push_back(mesh_kind<net::VirtualService, validate_virtual_service>());
  all.push_back(mesh_kind<net::DestinationRule>());
  all.push_back(mesh_kind<net::Gateway>("Gateway.networking.istio.io"));
  all.push_back(mesh_kind<net::EnvoyFilter>());
  all.push_back(mesh_kind<net::ProxyConfig>());
  all.push_back(mesh_kind<crd::telemetry::Telemetry>());
  all.push_back(mesh_kind<crd::extensions::WasmPlugin>());
  all.push_back(mesh_kind<crd::extensions::TrafficExtension>());
}

void add_gateway_api(std::vector<Kind>& all) {
  namespace api = crd::gateway_api;
  all.push_back(read_kind<api::Gateway>("Gateway", kGatewayApi, {"v1", "v1beta1"}));
  all.push_back(
      read_kind<api::GatewayClass>("GatewayClass", kGatewayApi, {"v1", "v1beta1"}, false));
  all.push_back(read_kind<api::HTTPRoute>("HTTPRoute", kGatewayApi, {"v1", "v1beta1"}));
  all.push_back(read_kind<api::GRPCRoute>("GRPCRoute", kGatewayApi, {"v1", "v1alpha2"}));
  all.push_back(read_kind<api::TLSRoute>("TLSRoute", kGatewayApi, {"v1", "v1alpha3", "v1alpha2"}));
  all.push_back(read_kind<api::TCPRoute>("TCPRoute", kGatewayApi, {"v1", "v1alpha2"}));
  all.push_back(opaque_kind("UDPRoute", kGatewayApi, {"v1", "v1alpha2"}));
  all.push_back(read_kind<api::ReferenceGrant>("ReferenceGrant", kGatewayApi, {"v1", "v1beta1"}));
  all.push_back(opaque_kind("BackendTLSPolicy", kGatewayApi, {"v1", "v1alpha3"}));
}

// What stands in the same files and is no business of the mesh.
void add_bystanders(std::vector<Kind>& all) {
  for (const auto* name :
       {"Secret", "Endpoints", "PersistentVolumeClaim", "LimitRange", "ResourceQuota"}) {
    all.push_back(opaque_kind(name, "", {"v1"}));
  }
  all.push_back(opaque_kind("PersistentVolume", "", {"v1"}, false));
  for (const auto* name : {"StatefulSet", "DaemonSet", "ReplicaSet"}) {
    all.push_back(opaque_kind(name, "apps", {"v1"}));
  }
  for (const auto* name : {"Job", "CronJob"}) all.push_back(opaque_kind(name, "batch", {"v1"}));
  all.push_back(opaque_kind("Ingress", "networking.k8s.io", {"v1"}));
  all.push_back(opaque_kind("IngressClass", "networking.k8s.io", {"v1"}, false));
  all.push_back(opaque_kind("NetworkPolicy", "networking.k8s.io", {"v1"}));
  all.push_back(opaque_kind("HorizontalPodAutoscaler", "autoscaling", {"v2", "v1"}));
  all.push_back(opaque_kind("PodDisruptionBudget", "policy", {"v1"}));
  all.push_back(opaque_kind("PriorityClass", "scheduling.k8s.io", {"v1"}, false));
  for (const auto* name : {"Role", "RoleBinding"}) {
    all.push_back(opaque_kind(name, "rbac.authorization.k8s.io", {"v1"}));
  }
  for (const auto* name : {"ClusterRole", "ClusterRoleBinding"}) {
    all.push_back(opaque_kind(name, "rbac.authorization.k8s.io", {"v1"}, false));
  }
  all.push_back(opaque_kind("CustomResourceDefinition", "apiextensions.k8s.io", {"v1"}, false));
}

}  // namespace

std::string Kind::api_version(std::string_view version) const {
  return group.empty() ? std::string(version) : std::string(group) + "/" + std::string(version);
}

const std::vector<Kind>& kinds() {
  static const std::vector<Kind> all = [] {
    std::vector<Kind> made;
    add_core(made);
    add_istio(made);
    add_gateway_api(made);
    add_bystanders(made);
    return made;
  }();
  return all;
}

Result<const Kind*> find_kind(std::string_view api_version, std::string_view name) {
  std::string expected;
  std::vector<std::string_view> names;
  for (const Kind& kind : kinds()) {
    names.push_back(kind.name);
    if (kind.name != name) continue;
    for (const std::string_view version : kind.versions) {
      const std::string known = kind.api_version(version);
      if (known == api_version) return &kind;
      expected += (expected.empty() ? "" : ", ") + known;
    }
  }
  if (!expected.empty()) {
    return fail(Code::kInvalid, "apiVersion: unknown version \"" + std::string(api_version) +
                                    "\"; expected one of " + expected);
  }
  const std::string_view near = nearest(name, names);
  return fail(Code::kInvalid,
              "kind: unknown kind \"" + std::string(name) + "\" of " +
                  (api_version.empty() ? "no apiVersion" : std::string(api_version)) +
                  (near.empty() ? "" : " (did you mean " + std::string(near) + "?)"));
}

}  // namespace weft::objects
