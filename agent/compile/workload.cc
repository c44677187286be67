#include "agent/compile/workload.h"

#include "agent/compile/locality.h"
#include "agent/compile/membership.h"
#include "agent/compile/outbound_policy.h"
#include "agent/compile/waypoint_guards.h"

#include <algorithm>
#include <charconv>

namespace weft::compile {

namespace core = crd::core;

namespace {

bool has_ended(const core::Pod& pod) {
  return pod.status().phase() == "Succeeded" || pod.status().phase() == "Failed";
}

const core::Namespace* namespace_of(const core::Pod& pod, const Store& store) {
  return store.namespaces.find("", pod.metadata().namespace_());
}

std::string service_account_of(const core::PodSpec& spec) {
  if (!spec.serviceaccountname().empty()) return spec.serviceaccountname();
  const std::string& old_name = spec.serviceaccount().string_value();
  return old_name.empty() ? "default" : old_name;
}

std::vector<IpAddress> addresses_of(const core::PodStatus& status) {
  std::vector<IpAddress> addresses;
  const auto add = [&](const std::string& text) {
    const auto address = IpAddress::parse(text);
    if (address && std::find(addresses.begin(), addresses.end(), *address) == addresses.end()) {
      addresses.push_back(*address);
    }
  };
  add(status.podip());
  for (const core::PodIP& ip : status.podips()) add(ip.ip());
  return addresses;
}

// By the Ready condition; where nobody judges readiness, a pod that runs is ready.
bool is_ready(const core::PodStatus& status) {
  for (const core::PodCondition& condition : status.conditions()) {
    if (condition.type() == "Ready") return condition.status() == "True";
  }
  return status.phase() == "Running" || status.phase().empty();
}

// A CronJob names its Jobs "<name>-<minutes or seconds since 1970>".
std::string without_time_suffix(const std::string& job) {
  const size_t dash = job.rfind('-');
  if (dash == std::string::npos || dash == 0) return {};
  const std::string_view digits = std::string_view(job).substr(dash + 1);
  if (digits.size() < 8 || digits.size() > 10) return {};
  if (digits.find_first_not_of("0123456789") != std::string_view::npos) return {};
  return job.substr(0, dash);
}

// Fills what made the pod: the owner, seen through a Deployment's ReplicaSet and a CronJob's Job.
void fill_owner(const core::Pod& pod, model::Workload& workload) {
  workload.workload_name = pod.metadata().name();
  const core::OwnerReference* owner = nullptr;
  for (const core::OwnerReference& reference : pod.metadata().ownerreferences()) {
    if (owner == nullptr || (reference.controller() && !owner->controller())) owner = &reference;
  }
  if (owner == nullptr) return;
  const std::string suffix =
      "-" + std::string(value_of(pod.metadata().labels(), "pod-template-hash"));
  if (owner->kind() == "Deployment") {
    workload.workload_name = owner->name();
    workload.type = model::WorkloadType::kDeployment;
  } else if (owner->kind() == "ReplicaSet" && suffix.size() > 1 &&
             owner->name().ends_with(suffix)) {
    workload.workload_name = owner->name().substr(0, owner->name().size() - suffix.size());
    workload.type = model::WorkloadType::kDeployment;
  } else if (owner->kind() == "Job") {
    const std::string cron = without_time_suffix(owner->name());
    workload.workload_name = cron.empty() ? owner->name() : cron;
    workload.type = cron.empty() ? model::WorkloadType::kJob : model::WorkloadType::kCronJob;
  }
}

std::string first_of(const Labels& labels, std::initializer_list<const char*> keys,
                     std::string_view fallback) {
  for (const char* key : keys) {
    const std::string_view value = value_of(labels, key);
    if (!value.empty()) return std::string(value);
  }
  return std::string(fallback);
}

// "PROXY", "PROXY/15088", "NONE/15088" (Istio's annotation of a waypoint, whose pods carry it).
// Nothing where it is absent or says something else: then connections arrive as they are.
std::optional<model::ApplicationTunnel> application_tunnel_of(const core::Pod& pod) {
  const std::string_view text = value_of(pod.metadata().annotations(), kInboundBindingAnnotation);
  const size_t slash = text.find('/');
  const std::string_view protocol = text.substr(0, slash);
  if (protocol != "PROXY" && protocol != "NONE") return std::nullopt;
  model::ApplicationTunnel tunnel{protocol == "PROXY"};
  if (slash == std::string_view::npos) return tunnel;
  const std::string_view port = text.substr(slash + 1);
  const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), tunnel.port);
  if (error != std::errc{} || end != port.data() + port.size() || tunnel.port == 0) {
    return std::nullopt;
  }
  return tunnel;
}

}  // namespace

void fill_canonical(const Labels& labels, model::Workload& workload) {
  workload.canonical_name =
      first_of(labels, {"service.istio.io/canonical-name", "app.kubernetes.io/name", "app"},
               workload.workload_name);
  workload.canonical_revision = first_of(
      labels, {"service.istio.io/canonical-revision", "app.kubernetes.io/version", "version"},
      "latest");
}

std::string workload_uid(const std::string& ns, const std::string& name, const MeshConfig& config) {
  return config.cluster_id + "//Pod/" + ns + "/" + name;
}

std::optional<model::Workload> compile_workload(const core::Pod& pod, const Store& store,
                                                const MeshConfig& config) {
  const core::ObjectMeta& meta = pod.metadata();
  std::vector<IpAddress> addresses = addresses_of(pod.status());
  if (addresses.empty() || has_ended(pod) || pod.status().phase() == "Unknown") {
    return std::nullopt;
  }
  model::Workload workload;
  workload.name = meta.name();
  workload.ns = meta.namespace_();
  workload.uid = workload_uid(workload.ns, workload.name, config);
  workload.addresses = std::move(addresses);
  workload.service_account = service_account_of(pod.spec());
  workload.trust_domain = config.trust_domain;
  workload.cluster_id = config.cluster_id;
  workload.node = pod.spec().nodename();
  workload.host_network = pod.spec().hostnetwork();
  const bool is_leaving = !meta.deletiontimestamp().empty();
  workload.healthy = !is_leaving && is_ready(pod.status());
  workload.serving_while_terminating = is_leaving && is_ready(pod.status());
  const bool enrolled = is_to_be_enrolled(pod, namespace_of(pod, store));
  workload.native_tunnel =
      !enrolled && !workload.host_network && value_of(meta.labels(), kTunnelLabel) == "http";
  workload.hbone = workload.native_tunnel ||
                   (enrolled && value_of(meta.annotations(), kRedirectionAnnotation) == "enabled");
  workload.application_tunnel = application_tunnel_of(pod);
  fill_owner(pod, workload);
  fill_canonical(meta.labels(), workload);
  workload.locality = locality_of(pod, store);
  workload.pod_hostname = pod.spec().hostname();
  workload.pod_subdomain = pod.spec().subdomain();
  workload.registry_only = is_registry_only(workload.ns, meta.labels(), store, config);
  workload.services = services_of(pod, store, config);
  workload.subsets = subsets_of(meta.labels(), workload.services, store, config);
  workload.policies = policies_over(workload.ns, meta.labels(), store, config);
  workload.waypoint = guarded_waypoint(pod, store, config);
  return workload;
}

std::optional<std::pair<std::string, SpiffeId>> identity_on_node(const core::Pod& pod,
                                                                 const Store& store,
                                                                 const MeshConfig& config) {
  if (pod.spec().nodename().empty() || has_ended(pod) ||
      !is_to_be_enrolled(pod, namespace_of(pod, store))) {
    return std::nullopt;
  }
  return std::pair(pod.spec().nodename(), SpiffeId{config.trust_domain, pod.metadata().namespace_(),
                                                   service_account_of(pod.spec())});
}

}  // namespace weft::compile
