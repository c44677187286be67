#include "agent/sandbox/admission.h"

#include "agent/objects/kinds.h"
#include "agent/sandbox/cluster_ips.h"

#include <google/protobuf/util/message_differencer.h>

#include <map>
#include <set>

namespace weft::sandbox {

namespace {

using crd::core::ObjectMeta;
using google::protobuf::util::MessageDifferencer;

bool is_namespaced(const objects::Object& object) {
  const auto kind = objects::find_kind(object.api_version(), object.kind());
  return !kind || (*kind)->namespaced;
}

class Admitter {
 public:
  Admitter(const std::vector<ObjectPtr>& present, const Images& images,
           const std::string& images_origin, const std::string& fallback_namespace,
           Families families)
      : images_(images),
        images_origin_(images_origin),
        fallback_namespace_(fallback_namespace),
        ips_(families) {
    for (const ObjectPtr& object : present) remember(object);
  }

  void admit_all(const std::vector<ObjectPtr>& wanted) {
    // A namespace may stand behind its objects in a file, or in another file.
    for (const ObjectPtr& object : wanted) {
      if (object->kind() == "Namespace") namespaces_.insert(object->metadata().name());
      if (const auto* service = object->as<crd::core::Service>()) ips_.take(*service);
    }
    for (const ObjectPtr& object : wanted) admit_one(object);
  }

  Admission result;

 private:
  void remember(const ObjectPtr& object) {
    present_[object->key()] = object;
    if (object->kind() == "Namespace") namespaces_.insert(object->metadata().name());
    if (const auto* service = object->as<crd::core::Service>()) ips_.take(*service);
  }

  void refuse(const objects::Object& object, const std::string& what) {
    result.errors.emplace_back(Code::kInvalid, object.key().to_string() + ": " + what);
  }

  void admit_one(const ObjectPtr& given) {
    ObjectPtr object = given;
    if (is_namespaced(*given) && given->metadata().namespace_().empty()) {
      object = with_metadata(*given,
                             [&](ObjectMeta& meta) { meta.set_namespace_(fallback_namespace_); });
    }
    const size_t errors_before = result.errors.size();
    const objects::Key key = object->key();
    if (const auto name = Store::file_name(key); !name) {
      result.errors.push_back(name.error());
      return;
    }
    if (!seen_.insert(key).second) refuse(*object, "metadata.name: written twice");
    if (is_namespaced(*object) && !namespaces_.contains(key.ns)) {
      refuse(*object, "metadata.namespace: there is no namespace \"" + key.ns + "\"");
    }
    check_images(*object);
    check_selector(*object);
    if (result.errors.size() > errors_before) return;
    const auto old = present_.find(key);
    merge(object, old == present_.end() ? nullptr : old->second);
  }

  void check_containers(const objects::Object& object, const crd::core::PodSpec& spec,
                        const std::string& field) {
    int index = 0;
    for (const auto& container : spec.containers()) {
      const std::string place = field + ".containers[" + std::to_string(index++) + "].image: ";
      if (!container.command().empty() || images_.contains(container.image())) continue;
      refuse(object, place + "\"" + container.image() +
                         "\" stands for no local command: expected one in " + images_origin_ +
                         ", or a command in the container");
    }
  }

  void check_images(const objects::Object& object) {
    if (const auto* pod = object.as<crd::core::Pod>())
      check_containers(object, pod->spec(), "spec");
    if (const auto* deployment = object.as<crd::core::Deployment>()) {
      check_containers(object, deployment->spec().template_().spec(), "spec.template.spec");
    }
  }

  void check_selector(const objects::Object& object) {
    const auto* deployment = object.as<crd::core::Deployment>();
    if (deployment == nullptr) return;
    const auto& labels = deployment->spec().template_().metadata().labels();
    for (const auto& [name, value] : deployment->spec().selector().matchlabels()) {
      const auto label = labels.find(name);
      if (label == labels.end() || label->second != value) {
        refuse(object,
               "spec.selector.matchLabels: expected labels of spec.template.metadata "
               "(there is no " +
                   name + "=" + value + ")");
      }
    }
  }

  void merge(ObjectPtr object, const ObjectPtr& old) {
    if (object->as<crd::core::Service>() != nullptr) {
      object = with_cluster_ips(*object, old);
      if (!object) return;
    }
    const auto* pod = object->as<crd::core::Pod>();
    const bool same_pod = pod != nullptr && old != nullptr && is_same_pod(*pod, *old);
    const bool keeps_uid = old != nullptr && (pod == nullptr || same_pod);
    if (pod != nullptr) object = with_pod_state(*object, same_pod ? old : nullptr);
    object = with_metadata(*object, [&](ObjectMeta& meta) {
      meta.clear_deletiontimestamp();
      meta.set_uid(keeps_uid ? old->metadata().uid() : new_uid());
      meta.set_creationtimestamp(keeps_uid ? old->metadata().creationtimestamp() : now_rfc3339());
      meta.set_resourceversion(old != nullptr ? old->metadata().resourceversion() : "");
    });
    const bool same =
        old != nullptr && MessageDifferencer::Equals(object->message(), old->message());
    result.admitted.push_back({old == nullptr ? Admitted::Outcome::kCreated
                               : same         ? Admitted::Outcome::kUnchanged
                                              : Admitted::Outcome::kConfigured,
                               object});
  }

  // Whether the running pod can stay: labels and annotations may change, its spec not.
  static bool is_same_pod(const crd::core::Pod& wanted, const objects::Object& old) {
    const auto* present = old.as<crd::core::Pod>();
    if (present == nullptr || !present->metadata().deletiontimestamp().empty()) return false;
    crd::core::PodSpec spec = present->spec();
    if (wanted.spec().nodename().empty()) spec.clear_nodename();
    return MessageDifferencer::Equals(wanted.spec(), spec);
  }

  static ObjectPtr with_pod_state(const objects::Object& object, const ObjectPtr& old) {
    auto pod = copy_of<crd::core::Pod>(object);
    pod->clear_status();
    if (old != nullptr) {
      const auto* present = old->as<crd::core::Pod>();
      pod->mutable_spec()->set_nodename(present->spec().nodename());
      *pod->mutable_status() = present->status();
    } else {
      pod->mutable_status()->set_phase("Pending");
    }
    return std::make_shared<objects::Object>(object.api_version(), object.kind(), pod);
  }

  ObjectPtr with_cluster_ips(const objects::Object& object, const ObjectPtr& old) {
    auto service = copy_of<crd::core::Service>(object);
    const auto* present = old != nullptr ? old->as<crd::core::Service>() : nullptr;
    if (auto done = ips_.complete(object.key().to_string(), present, *service); !done) {
      refuse(object, done.error().to_string());
      return nullptr;
    }
    return std::make_shared<objects::Object>(object.api_version(), object.kind(), service);
  }

  const Images& images_;
  const std::string& images_origin_;
  const std::string& fallback_namespace_;
  std::map<objects::Key, ObjectPtr> present_;
  std::set<std::string> namespaces_;
  ClusterIps ips_;
  std::set<objects::Key> seen_;
};

}  // namespace

Admission admit(const std::vector<ObjectPtr>& wanted, const std::vector<ObjectPtr>& present,
                const Images& images, const std::string& images_origin,
                const std::string& fallback_namespace, Families families) {
  Admitter admitter(present, images, images_origin, fallback_namespace, families);
  admitter.admit_all(wanted);
  return std::move(admitter.result);
}

ObjectPtr with_metadata(const objects::Object& object,
                        const std::function<void(ObjectMeta&)>& change) {
  std::shared_ptr<google::protobuf::Message> message(object.message().New());
  message->CopyFrom(object.message());
  const auto* field = message->GetDescriptor()->FindFieldByName("metadata");
  change(*static_cast<ObjectMeta*>(message->GetReflection()->MutableMessage(message.get(), field)));
  return std::make_shared<objects::Object>(object.api_version(), object.kind(), std::move(message));
}

}  // namespace weft::sandbox
