#include "agent/sandbox/planner.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>

#include <algorithm>
#include <cstdio>
#include <tuple>

namespace weft::sandbox {

namespace {

using crd::core::Pod;

constexpr std::string_view kHostnameLabel = "kubernetes.io/hostname";

std::string owner_of(const Pod& pod) {
  return pod.metadata().ownerreferences_size() > 0 ? pod.metadata().ownerreferences(0).uid() : "";
}

std::shared_ptr<Pod> make_pod(const crd::core::Deployment& deployment, const std::string& hash,
                              const std::string& suffix) {
  const auto& pod_template = deployment.spec().template_();
  auto pod = std::make_shared<Pod>();
  auto* meta = pod->mutable_metadata();
  *meta->mutable_labels() = pod_template.metadata().labels();
  *meta->mutable_annotations() = pod_template.metadata().annotations();
  (*meta->mutable_labels())[kTemplateHashLabel] = hash;
  meta->set_name(deployment.metadata().name() + "-" + hash + "-" + suffix);
  meta->set_namespace_(deployment.metadata().namespace_());
  meta->set_uid(new_uid());
  meta->set_creationtimestamp(now_rfc3339());
  auto* owner = meta->add_ownerreferences();
  owner->set_apiversion("apps/v1");
  owner->set_kind("Deployment");
  owner->set_name(deployment.metadata().name());
  owner->set_uid(deployment.metadata().uid());
  owner->set_controller(true);
  *pod->mutable_spec() = pod_template.spec();
  pod->mutable_status()->set_phase("Pending");
  return pod;
}

}  // namespace

bool is_ready(const Pod& pod) {
  for (const auto& condition : pod.status().conditions()) {
    if (condition.type() == "Ready") return condition.status() == "True";
  }
  return false;
}

bool is_finished(const Pod& pod) {
  return pod.status().phase() == "Succeeded" || pod.status().phase() == "Failed";
}

std::string template_hash(const crd::core::PodTemplateSpec& pod_template) {
  std::string bytes;
  {
    // Deterministic: maps are written in the order of their keys.
    google::protobuf::io::StringOutputStream stream(&bytes);
    google::protobuf::io::CodedOutputStream coded(&stream);
    coded.SetSerializationDeterministic(true);
    pod_template.SerializeToCodedStream(&coded);
  }
  uint64_t hash = 0xcbf29ce484222325ULL;  // FNV-1a
  for (const char c : bytes) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3ULL;
  char text[11];
  std::snprintf(text, sizeof text, "%010llx",
                static_cast<unsigned long long>(hash & 0xff'ffff'ffffULL));
  return text;
}

size_t ready_replicas(const crd::core::Deployment& deployment, const std::vector<ObjectPtr>& all) {
  const std::string hash = template_hash(deployment.spec().template_());
  size_t ready = 0;
  for (const ObjectPtr& object : all) {
    const Pod* pod = object->as<Pod>();
    if (pod == nullptr || owner_of(*pod) != deployment.metadata().uid()) continue;
    const auto label = pod->metadata().labels().find(kTemplateHashLabel);
    const bool current = label != pod->metadata().labels().end() && label->second == hash;
    if (current && !is_leaving(*pod) && is_ready(*pod)) ++ready;
  }
  return ready;
}

DeploymentPlan plan_deployment(const crd::core::Deployment& deployment,
                               const std::vector<PodPtr>& pods,
                               const std::function<std::string()>& suffix) {
  const auto& spec = deployment.spec();
  const size_t wanted = spec.has_replicas() ? spec.replicas() : 1;
  const std::string hash = template_hash(spec.template_());
  std::vector<PodPtr> current;
  std::vector<PodPtr> old;
  DeploymentPlan plan;
  for (const PodPtr& pod : pods) {
    if (is_leaving(*pod)) continue;
    if (is_finished(*pod)) {
      plan.remove.push_back(pod);
      continue;
    }
    const auto& labels = pod->metadata().labels();
    const auto label = labels.find(kTemplateHashLabel);
    (label != labels.end() && label->second == hash ? current : old).push_back(pod);
  }
  for (size_t have = current.size(); have < wanted; ++have) {
    plan.create.push_back(make_pod(deployment, hash, suffix()));
  }
  // Pods that are not ready go first, then the youngest.
  std::sort(current.begin(), current.end(), [](const PodPtr& a, const PodPtr& b) {
    return std::tuple(is_ready(*b), a->metadata().creationtimestamp(), a->metadata().name()) <
           std::tuple(is_ready(*a), b->metadata().creationtimestamp(), b->metadata().name());
  });
  while (current.size() > wanted) {
    plan.remove.push_back(current.back());
    current.pop_back();
  }
  const auto ready = static_cast<size_t>(std::count_if(
      current.begin(), current.end(), [](const PodPtr& pod) { return is_ready(*pod); }));
  if (ready >= wanted) plan.remove.insert(plan.remove.end(), old.begin(), old.end());
  return plan;
}

Result<std::string> choose_node(const Pod& pod, const std::vector<std::string>& nodes,
                                const std::vector<PodPtr>& placed) {
  std::string best;
  std::pair<size_t, size_t> best_load;
  for (const std::string& node : nodes) {
    bool fits = true;
    for (const auto& [label, value] : pod.spec().nodeselector()) {
      const bool known =
          label == kHostnameLabel ? value == node : label == "kubernetes.io/os" && value == "linux";
      fits = fits && known;
    }
    if (!fits) continue;
    std::pair<size_t, size_t> load{0, 0};
    for (const PodPtr& other : placed) {
      if (other->spec().nodename() != node || is_leaving(*other) || is_finished(*other)) continue;
      ++load.second;
      if (!owner_of(pod).empty() && owner_of(*other) == owner_of(pod)) ++load.first;
    }
    if (best.empty() || load < best_load) {
      best = node;
      best_load = load;
    }
  }
  if (!best.empty()) return best;
  std::string selector;
  for (const auto& [label, value] : pod.spec().nodeselector()) {
    selector += (selector.empty() ? "" : ", ") + label + "=" + value;
  }
  return fail(Code::kUnavailable,
              "0/" + std::to_string(nodes.size()) + " nodes match the pod's nodeSelector (" +
                  selector + "); nodes are named node-1 to node-" + std::to_string(nodes.size()) +
                  " and known by " + std::string(kHostnameLabel));
}

}  // namespace weft::sandbox
