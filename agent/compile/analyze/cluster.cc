#include "agent/compile/analyze/cluster.h"

#include "agent/compile/outbound_policy.h"
#include "proto/crd/opaque.pb.h"

#include <algorithm>
#include <map>
#include <optional>

namespace weft::analyze {

namespace core = crd::core;
using google::protobuf::Value;

namespace {

// What makes pods from spec.template and is read as far as this only.
const std::set<std::string_view> kMakers = {"StatefulSet", "DaemonSet", "ReplicaSet", "Job",
                                            "CronJob"};
const std::set<std::string> kAlwaysThere = {"default", "kube-system", "kube-public",
                                            "kube-node-lease"};
constexpr const char* kModeLabel = "istio.io/dataplane-mode";

bool makes_pods(std::string_view kind) {
  return kind == "Pod" || kind == "Deployment" || kMakers.contains(kind);
}

const Value& at(const Value& object, const char* name) {
  static const Value kNothing;
  const auto& fields = object.struct_value().fields();
  const auto found = fields.find(name);
  return found == fields.end() ? kNothing : found->second;
}

void copy_labels(const Value& from, google::protobuf::Map<std::string, std::string>& to) {
  for (const auto& [key, value] : from.struct_value().fields()) to[key] = value.string_value();
}

void copy_containers(const Value& from, google::protobuf::RepeatedPtrField<core::Container>& to) {
  for (const Value& container : from.list_value().values()) {
    core::Container& copy = *to.Add();
    copy.set_name(at(container, "name").string_value());
    for (const Value& port : at(container, "ports").list_value().values()) {
      core::ContainerPort& target = *copy.add_ports();
      target.set_name(at(port, "name").string_value());
      target.set_protocol(at(port, "protocol").string_value());
      const double number = at(port, "containerPort").number_value();
      if (number >= 1 && number <= 65535) target.set_containerport(static_cast<uint32_t>(number));
    }
  }
}

// The fields of a pod that the checks look at, from a template that has no type here.
core::Pod pod_of(const Value& pod_template) {
  core::Pod pod;
  copy_labels(at(at(pod_template, "metadata"), "labels"),
              *pod.mutable_metadata()->mutable_labels());
  copy_labels(at(at(pod_template, "metadata"), "annotations"),
              *pod.mutable_metadata()->mutable_annotations());
  const Value& spec = at(pod_template, "spec");
  pod.mutable_spec()->set_hostnetwork(at(spec, "hostNetwork").bool_value());
  pod.mutable_spec()->set_serviceaccountname(at(spec, "serviceAccountName").string_value());
  copy_containers(at(spec, "containers"), *pod.mutable_spec()->mutable_containers());
  copy_containers(at(spec, "initContainers"), *pod.mutable_spec()->mutable_initcontainers());
  return pod;
}

std::optional<core::Pod> pod_made_by(const objects::Object& object) {
  if (const auto* pod = object.as<core::Pod>()) return *pod;
  if (const auto* deployment = object.as<core::Deployment>()) {
    core::Pod pod;
    *pod.mutable_metadata() = deployment->spec().template_().metadata();
    *pod.mutable_spec() = deployment->spec().template_().spec();
    return pod;
  }
  const auto* opaque = object.as<crd::opaque::Opaque>();
  if (opaque == nullptr || !kMakers.contains(object.kind())) return std::nullopt;
  const Value& spec =
      object.kind() == "CronJob" ? at(at(opaque->spec(), "jobTemplate"), "spec") : opaque->spec();
  return pod_of(at(spec, "template"));
}

Shape::Mesh mesh_of(const core::Pod& pod, const core::Namespace* ns) {
  const std::string_view mode = compile::value_of(pod.metadata().labels(), kModeLabel);
  if (compile::is_to_be_enrolled(pod, ns)) return Shape::Mesh::kIn;
  if (ns != nullptr || mode == "none" || mode == "ambient" || pod.spec().hostnetwork()) {
    return Shape::Mesh::kOut;
  }
  return Shape::Mesh::kUnknown;
}

// Whether the one is a pod that the other makes, as far as labels tell.
bool made_by(const Shape& pod, const Shape& maker) {
  return pod.origin.kind == "Pod" && maker.origin.kind != "Pod" &&
         pod.origin.ns == maker.origin.ns && !pod.pod.metadata().ownerreferences().empty() &&
         compile::selects(maker.pod.metadata().labels(), pod.pod.metadata().labels());
}

}  // namespace

Cluster::Cluster(const std::vector<ObjectPtr>& objects, const std::set<objects::Key>& unread,
                 compile::MeshConfig config)
    : config_(std::move(config)),
      objects_(objects),
      keys_(unread),
      namespaces_(kAlwaysThere.begin(), kAlwaysThere.end()) {
  store_.cluster_domain = config_.cluster_domain;
  namespaces_.insert(config_.root_namespace);
  for (const objects::Key& key : unread) {
    if (makes_pods(key.kind)) with_unread_pods_.insert(key.ns);
    if (key.kind == "Namespace") namespaces_.insert(key.name);
  }
  for (const ObjectPtr& object : objects_) {
    const objects::Key key = object->key();
    keys_.insert(key);
    store_.put(key, object);
    if (key.kind == "Namespace") namespaces_.insert(key.name);
    if (key.kind == "Service" || makes_pods(key.kind)) namespaces_.insert(key.ns);
  }
  config_ = compile::configured(config_, store_);
  for (const ObjectPtr& object : objects_) add_shapes(object);
  const std::vector<Shape> all = std::move(shapes_);
  shapes_.clear();
  for (const Shape& shape : all) {
    const auto is_of = [&shape](const Shape& other) {
      return made_by(shape, other) || made_by(other, shape);
    };
    const bool repeated = std::ranges::any_of(all, is_of);
    if (!repeated || shape.origin.kind != "Pod") shapes_.push_back(shape);
    if (!repeated || shape.origin.kind == "Pod") running_.push_back(shape);
  }
}

void Cluster::add_shapes(const ObjectPtr& object) {
  std::optional<core::Pod> pod = pod_made_by(*object);
  if (!pod) return;
  const objects::Key key = object->key();
  pod->mutable_metadata()->set_namespace_(key.ns);
  const Shape::Mesh mesh = mesh_of(*pod, store_.namespaces.find("", key.ns));
  shapes_.push_back({key, std::move(*pod), mesh});
}

bool Cluster::has_namespace(const std::string& name) const { return namespaces_.contains(name); }

bool Cluster::has(const std::string& kind, const std::string& ns, const std::string& name) const {
  return keys_.contains({kind, ns, name});
}

bool Cluster::knows_pods_of(const std::string& ns) const {
  return ns.empty() ? with_unread_pods_.empty() : !with_unread_pods_.contains(ns);
}

std::vector<const Shape*> Cluster::matching(const std::string& ns,
                                            const compile::Labels& wanted) const {
  std::vector<const Shape*> found;
  for (const Shape& shape : shapes_) {
    if (!ns.empty() && shape.origin.ns != ns) continue;
    if (compile::selects(wanted, shape.pod.metadata().labels())) found.push_back(&shape);
  }
  return found;
}

std::string scope_of(const std::string& ns, const compile::MeshConfig& config) {
  return ns == config.root_namespace ? std::string() : ns;
}

std::string describe(const compile::Labels& labels) {
  std::string text;
  for (const auto& [key, value] :
       std::map<std::string, std::string>(labels.begin(), labels.end())) {
    text += (text.empty() ? "" : ",") + key + "=" + value;
  }
  return text;
}

bool is_wanted_by_namespace(const Shape& shape, const Cluster& cluster) {
  core::Pod ordinary;
  const auto& labels = shape.pod.metadata().labels();
  const auto mode = labels.find(kModeLabel);
  if (mode != labels.end())
    (*ordinary.mutable_metadata()->mutable_labels())[kModeLabel] = mode->second;
  return compile::is_to_be_enrolled(ordinary, cluster.store().namespaces.find("", shape.origin.ns));
}

}  // namespace weft::analyze
