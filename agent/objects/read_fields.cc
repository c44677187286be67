#include "agent/objects/read_fields.h"

#include <google/protobuf/struct.pb.h>

#include <algorithm>
#include <array>
#include <unordered_map>

namespace weft::objects {
namespace {

using google::protobuf::FieldDescriptor;

// Of any type, and read.
constexpr std::array<std::string_view, 3> kReadValues{
    "weft.crd.core.ServicePort.targetPort",
    "weft.crd.opaque.Opaque.spec",
    "weft.crd.opaque.Opaque.rest",
};

// Of a type, and only of use to the sandbox and the command line, which read manifests.
constexpr std::array<std::string_view, 18> kNotRead{
    "weft.crd.core.ObjectMeta.resourceVersion",
    "weft.crd.core.ObjectMeta.generation",
    "weft.crd.core.ObjectMeta.generateName",
    "weft.crd.core.OwnerReference.uid",
    "weft.crd.core.OwnerReference.apiVersion",
    "weft.crd.core.Container.image",
    "weft.crd.core.Container.command",
    "weft.crd.core.Container.args",
    "weft.crd.core.Container.env",
    "weft.crd.core.Container.envFrom",
    "weft.crd.core.Container.workingDir",
    "weft.crd.core.PodSpec.restartPolicy",
    "weft.crd.core.PodSpec.nodeSelector",
    "weft.crd.core.PodStatus.hostIP",
    "weft.crd.core.PodCondition.reason",
    "weft.crd.core.PodCondition.message",
    "weft.crd.core.ServicePort.nodePort",
    "weft.crd.core.ServiceSpec.ipFamilyPolicy",
};

bool decide(const FieldDescriptor& field) {
  const std::string_view name = field.full_name();
  if (std::ranges::find(kNotRead, name) != kNotRead.end()) return false;
  const bool is_value = field.message_type() == google::protobuf::Value::descriptor();
  return !is_value || std::ranges::find(kReadValues, name) != kReadValues.end();
}

}  // namespace

bool is_read(const FieldDescriptor& field) {
  thread_local std::unordered_map<const FieldDescriptor*, bool> decided;
  const auto known = decided.find(&field);
  if (known != decided.end()) return known->second;
  return decided[&field] = decide(field);
}

bool is_read_annotation(std::string_view key) {
  // Of a static pod: the uid by which its kubelet and the container runtime know it.
  constexpr std::string_view kMirror = "kubernetes.io/config.mirror";
  return key.contains("istio.io/") || key.contains("weft.io/") || key == kMirror;
}

}  // namespace weft::objects
