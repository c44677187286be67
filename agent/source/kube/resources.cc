#include "agent/source/kube/resources.h"

#include "agent/objects/mesh_config.h"

namespace weft::source::kube {
namespace {

constexpr std::string_view kNetworking = "networking.istio.io";
constexpr std::string_view kSecurity = "security.istio.io";
constexpr std::string_view kGatewayApi = "gateway.networking.k8s.io";

// The versions that we can read, which are the kind's in objects::kinds().
std::vector<std::string_view> versions_of(std::string_view group, std::string_view kind) {
  for (const objects::Kind& known : objects::kinds()) {
    if (known.group == group && known.name == kind) return known.versions;
  }
  return {};
}

Resource crd(std::string_view group, std::string_view plural, std::string_view kind) {
  return {.group = group,
          .versions = versions_of(group, kind),
          .plural = plural,
          .kind = kind,
          .built_in = false};
}

// What is only said to be there: the compiler tells that it does not honour it yet.
Resource noticed(std::string_view group, std::string_view plural, std::string_view kind) {
  Resource resource = crd(group, plural, kind);
  resource.metadata_only = true;
  return resource;
}

Resource namespaces() {
  return {.group = "",
          .versions = {"v1"},
          .plural = "namespaces",
          .kind = "Namespace",
          .namespaced = false,
          .metadata_only = true};
}

Resource pods() { return {.group = "", .versions = {"v1"}, .plural = "pods", .kind = "Pod"}; }

}  // namespace

std::string Served::api_version() const {
  return resource.group.empty() ? version : std::string(resource.group) + "/" + version;
}

std::string Served::collection() const {
  std::string path = (resource.group.empty() ? "/api/" : "/apis/") + api_version();
  if (!resource.ns.empty()) path += "/namespaces/" + escape(resource.ns);
  return path + "/" + std::string(resource.plural);
}

std::string Served::object_path(const objects::Key& key) const {
  std::string path = (resource.group.empty() ? "/api/" : "/apis/") + api_version();
  if (resource.namespaced) path += "/namespaces/" + escape(key.ns);
  return path + "/" + std::string(resource.plural) + "/" + escape(key.name);
}

std::vector<Resource> control_resources(const std::string& root_namespace) {
  std::vector<Resource> all = {namespaces(), pods()};
  all.push_back({.group = "", .versions = {"v1"}, .plural = "services", .kind = "Service"});
  all.push_back({.group = "",
                 .versions = {"v1"},
                 .plural = "nodes",
                 .kind = "Node",
                 .namespaced = false,
                 .metadata_only = true});
  all.push_back({.group = "discovery.k8s.io",
                 .versions = {"v1"},
                 .plural = "endpointslices",
                 .kind = "EndpointSlice"});
  all.push_back({.group = "",
                 .versions = {"v1"},
                 .plural = "configmaps",
                 .kind = "ConfigMap",
                 .ns = root_namespace,
                 .field_selector = "metadata.name=" + std::string(objects::kMeshConfigMap)});
  all.push_back(crd(kSecurity, "authorizationpolicies", "AuthorizationPolicy"));
  all.back().keeps_status = true;
  all.push_back(crd(kSecurity, "peerauthentications", "PeerAuthentication"));
  all.back().keeps_status = true;
  all.push_back(crd(kNetworking, "serviceentries", "ServiceEntry"));
  all.push_back(crd(kNetworking, "workloadentries", "WorkloadEntry"));
  all.push_back(crd(kNetworking, "sidecars", "Sidecar"));
  all.push_back(crd(kSecurity, "requestauthentications", "RequestAuthentication"));
  all.push_back(crd(kNetworking, "virtualservices", "VirtualService"));
  all.push_back(crd(kNetworking, "destinationrules", "DestinationRule"));
  all.push_back(noticed(kNetworking, "gateways", "Gateway"));
  all.push_back(noticed(kNetworking, "envoyfilters", "EnvoyFilter"));
  all.push_back(crd("telemetry.istio.io", "telemetries", "Telemetry"));
  all.push_back(noticed("extensions.istio.io", "wasmplugins", "WasmPlugin"));
  all.push_back(crd(kGatewayApi, "gateways", "Gateway"));
  all.push_back(crd(kGatewayApi, "gatewayclasses", "GatewayClass"));
  all.back().namespaced = false;
  all.push_back(crd(kGatewayApi, "httproutes", "HTTPRoute"));
  all.push_back(crd(kGatewayApi, "grpcroutes", "GRPCRoute"));
  all.push_back(crd(kGatewayApi, "tcproutes", "TCPRoute"));
  all.push_back(crd(kGatewayApi, "tlsroutes", "TLSRoute"));
  all.push_back(crd(kGatewayApi, "referencegrants", "ReferenceGrant"));
  return all;
}

std::vector<Resource> node_resources(const std::string& node) {
  Resource own_pods = pods();
  own_pods.field_selector = "spec.nodeName=" + node;
  return {namespaces(), own_pods};
}

}  // namespace weft::source::kube
