#include "agent/compile/waypoint_parts.h"

#include "agent/compile/compiler.h"
#include "agent/compile/waypoint_binding.h"
#include "ztunnel/base/check.h"

#include <google/protobuf/util/json_util.h>

namespace weft::compile {

namespace {

namespace core = crd::core;
using crd::gateway_api::Gateway;
using google::protobuf::Value;

constexpr const char* kClassLabel = "gateway.networking.k8s.io/gateway-class-name";
constexpr const char* kManagedLabel = "gateway.istio.io/managed";
constexpr const char* kManager = "weft.io-waypoint-controller";
constexpr const char* kDataplaneMode = "istio.io/dataplane-mode";
constexpr uint32_t kReadinessPort = 15021;
constexpr uint32_t kMetricsPort = 15020;

Value value_from(const std::string& json) {
  Value value;
  CHECK(google::protobuf::util::JsonStringToMessage(json, &value).ok());
  return value;
}

// Not ours to give on: kubectl's memory of a manifest would be of another object.
bool is_inherited(const std::string& key) {
  return key != "kubectl.kubernetes.io/last-applied-configuration";
}

void fill_meta(const Gateway& gateway, core::ObjectMeta& meta) {
  const core::ObjectMeta& own = gateway.metadata();
  meta.set_name(own.name());
  meta.set_namespace_(own.namespace_());
  auto& labels = *meta.mutable_labels();
  labels = gateway.spec().infrastructure().labels();
  labels[kGatewayNameLabel] = own.name();
  labels[kClassLabel] = gateway.spec().gatewayclassname();
  labels[kManagedLabel] = kManager;
  if (const std::string_view revision = value_of(own.labels(), "istio.io/rev"); !revision.empty()) {
    labels["istio.io/rev"] = std::string(revision);
  }
  for (const auto& [key, value] : gateway.spec().infrastructure().annotations()) {
    if (is_inherited(key)) (*meta.mutable_annotations())[key] = value;
  }
}

void fill_owned(const Gateway& gateway, core::ObjectMeta& meta) {
  fill_meta(gateway, meta);
  core::OwnerReference& owner = *meta.add_ownerreferences();
  owner.set_apiversion("gateway.networking.k8s.io/v1");
  owner.set_kind("Gateway");
  owner.set_name(gateway.metadata().name());
  owner.set_uid(gateway.metadata().uid());
  owner.set_controller(true);
}

void add_variable(core::Container& container, const char* name, const char* path) {
  core::EnvVar& variable = *container.add_env();
  variable.set_name(name);
  variable.mutable_valuefrom()->mutable_fieldref()->set_fieldpath(path);
}

void add_port(core::Container& container, const char* name, uint32_t port) {
  core::ContainerPort& added = *container.add_ports();
  added.set_name(name);
  added.set_containerport(port);
}

void fill_container(const Gateway& gateway, const WaypointProgram& program,
                    core::Container& container) {
  container.set_name("waypoint");
  container.set_image(program.image);
  container.mutable_command()->Add(program.command.begin(), program.command.end());
  container.add_args("waypoint");
  container.add_args("--gateway=" + gateway.metadata().name());
  container.add_args("--namespace=$(POD_NAMESPACE)");
  container.add_args("--service-account=$(SERVICE_ACCOUNT)");
  container.mutable_args()->Add(program.flags.begin(), program.flags.end());
  add_variable(container, "POD_NAME", "metadata.name");
  add_variable(container, "POD_NAMESPACE", "metadata.namespace");
  add_variable(container, "POD_UID", "metadata.uid");
  add_variable(container, "INSTANCE_IP", "status.podIP");
  add_variable(container, "NODE_NAME", "spec.nodeName");
  add_variable(container, "SERVICE_ACCOUNT", "spec.serviceAccountName");
  add_port(container, "hbone", kHbonePort);
  add_port(container, "metrics", kMetricsPort);
  add_port(container, "status-port", kReadinessPort);
  *container.mutable_readinessprobe() = value_from(
      R"({"httpGet":{"path":"/healthz/ready","port":15021},"periodSeconds":1,"timeoutSeconds":1,)"
      R"("failureThreshold":4})");
  // What a service answers on needs no right of its host's.
  *container.mutable_securitycontext() = value_from(
      R"({"allowPrivilegeEscalation":false,"capabilities":{"drop":["ALL"]},"privileged":false,)"
      R"("readOnlyRootFilesystem":true,"runAsNonRoot":true,"runAsUser":1337,"runAsGroup":1337})");
  if (program.volume_mounts.kind_case() != Value::KIND_NOT_SET) {
    *container.mutable_volumemounts() = program.volume_mounts;
  }
  if (program.resources.kind_case() != Value::KIND_NOT_SET) {
    *container.mutable_resources() = program.resources;
  }
  if (!program.image_pull_policy.empty()) {
    container.mutable_imagepullpolicy()->set_string_value(program.image_pull_policy);
  }
}

void fill_pod(const Gateway& gateway, const WaypointProgram& program, core::PodTemplateSpec& out) {
  core::ObjectMeta meta;
  fill_meta(gateway, meta);
  *out.mutable_metadata()->mutable_labels() = meta.labels();
  *out.mutable_metadata()->mutable_annotations() = meta.annotations();
  auto& labels = *out.mutable_metadata()->mutable_labels();
  labels[kDataplaneMode] = "none";  // it is its own ztunnel
  labels[kTunnelLabel] = "http";
  labels["sidecar.istio.io/inject"] = "false";
  labels["service.istio.io/canonical-name"] = gateway.metadata().name();
  labels["service.istio.io/canonical-revision"] = "latest";
  auto& annotations = *out.mutable_metadata()->mutable_annotations();
  annotations["prometheus.io/scrape"] = "true";
  annotations["prometheus.io/port"] = std::to_string(kMetricsPort);
  annotations["prometheus.io/path"] = "/stats/prometheus";
  core::PodSpec& spec = *out.mutable_spec();
  spec.set_serviceaccountname(gateway.metadata().name());
  // It ends what is open within its drain time.
  spec.mutable_terminationgraceperiodseconds()->set_number_value(60);
  fill_container(gateway, program, *spec.add_containers());
  if (program.volumes.kind_case() != Value::KIND_NOT_SET) {
    *spec.mutable_volumes() = program.volumes;
  }
  if (program.image_pull_secrets.kind_case() != Value::KIND_NOT_SET) {
    *spec.mutable_imagepullsecrets() = program.image_pull_secrets;
  }
}

void add_port(core::ServiceSpec& spec, const char* name, uint32_t port, const char* protocol) {
  core::ServicePort& added = *spec.add_ports();
  added.set_name(name);
  added.set_port(port);
  added.set_protocol("TCP");
  added.set_appprotocol(protocol);
  added.mutable_targetport()->set_number_value(port);
}

}  // namespace

WaypointParts waypoint_parts(const Gateway& gateway, const WaypointProgram& program) {
  WaypointParts parts{std::make_shared<core::ServiceAccount>(), std::make_shared<core::Service>(),
                      std::make_shared<core::Deployment>()};
  fill_owned(gateway, *parts.account->mutable_metadata());
  fill_owned(gateway, *parts.service->mutable_metadata());
  fill_owned(gateway, *parts.deployment->mutable_metadata());
  (*parts.service->mutable_metadata()
        ->mutable_annotations())["networking.istio.io/traffic-distribution"] = "PreferClose";
  core::ServiceSpec& service = *parts.service->mutable_spec();
  service.set_type("ClusterIP");
  (*service.mutable_selector())[kGatewayNameLabel] = gateway.metadata().name();
  add_port(service, "status-port", kReadinessPort, "tcp");
  add_port(service, "mesh", kHbonePort, "hbone");
  core::DeploymentSpec& deployment = *parts.deployment->mutable_spec();
  (*deployment.mutable_selector()->mutable_matchlabels())[kGatewayNameLabel] =
      gateway.metadata().name();
  fill_pod(gateway, program, *deployment.mutable_template_());
  return parts;
}

}  // namespace weft::compile
