#include "agent/sandbox/admission.h"

#include "agent/objects/kinds.h"
#include "agent/sandbox/layout.h"
#include "ztunnel/base/ip.h"

#include <google/protobuf/util/message_differencer.h>

#include <map>
#include <set>

namespace weft::sandbox {

namespace {

using crd::core::ObjectMeta;
using google::protobuf::util::MessageDifferencer;

// Below 10.96.1.0 are addresses that people give themselves, and 10.96.0.10.
constexpr uint32_t kFirstServiceIp = 0x0a600100;
constexpr uint32_t kLastServiceIp = 0x0a60fffe;

bool is_namespaced(const objects::Object& object) {
  const auto kind = objects::find_kind(object.api_version(), object.kind());
  return !kind || (*kind)->namespaced;
}

class Admitter {
 public:
  Admitter(const std::vector<ObjectPtr>& present, const Images& images,
           const std::string& images_origin, const std::string& fallback_namespace)
      : images_(images), images_origin_(images_origin), fallback_namespace_(fallback_namespace) {
    for (const ObjectPtr& object : present) remember(object);
  }

  void admit_all(const std::vector<ObjectPtr>& wanted) {
    // A namespace may stand behind its objects in a file, or in another file.
    for (const ObjectPtr& object : wanted) {
      if (object->kind() == "Namespace") namespaces_.insert(object->metadata().name());
      if (const auto* service = object->as<crd::core::Service>()) {
        if (!service->spec().clusterip().empty()) taken_.insert(service->spec().clusterip());
      }
    }
    for (const ObjectPtr& object : wanted) admit_one(object);
  }

  Admission result;

 private:
  void remember(const ObjectPtr& object) {
    present_[object->key()] = object;
    if (object->kind() == "Namespace") namespaces_.insert(object->metadata().name());
    if (const auto* service = object->as<crd::core::Service>()) {
      taken_.insert(service->spec().clusterip());
    }
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
    if (const auto* service = object->as<crd::core::Service>()) {
      object = with_cluster_ip(*object, *service, old);
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

  ObjectPtr with_cluster_ip(const objects::Object& object, const crd::core::Service& service,
                            const ObjectPtr& old) {
    const std::string& wanted = service.spec().clusterip();
    if (service.spec().type() == "ExternalName" || wanted == "None") {
      return std::make_shared<objects::Object>(object);
    }
    const auto* present = old != nullptr ? old->as<crd::core::Service>() : nullptr;
    auto copy = copy_of<crd::core::Service>(object);
    if (!wanted.empty()) {
      const auto ip = IpAddress::parse(wanted);
      const auto range = Cidr::parse(kServiceCidr);
      if (!ip || !range->contains(*ip) || wanted == kDnsIp) {
        refuse(object, "spec.clusterIP: expected an address of " + std::string(kServiceCidr) +
                           " other than " + std::string(kDnsIp));
        return nullptr;
      }
    } else if (present != nullptr && !present->spec().clusterip().empty() &&
               present->spec().clusterip() != "None") {
      copy->mutable_spec()->set_clusterip(present->spec().clusterip());
    } else {
      const std::string free = free_cluster_ip(object.key().to_string());
      if (free.empty()) {
        refuse(object, "spec.clusterIP: all addresses are taken");
        return nullptr;
      }
      copy->mutable_spec()->set_clusterip(free);
    }
    return std::make_shared<objects::Object>(object.api_version(), object.kind(), copy);
  }

  // By the service's name, so that it tends to get the same one in every sandbox.
  std::string free_cluster_ip(const std::string& name) {
    const uint32_t count = kLastServiceIp - kFirstServiceIp + 1;
    uint32_t hash = 2166136261U;
    for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 16777619U;
    for (uint32_t tries = 0; tries < count; ++tries) {
      const uint32_t number = kFirstServiceIp + (hash + tries) % count;
      std::string ip = IpAddress::v4(number).to_string();
      if (taken_.insert(ip).second) return ip;
    }
    return "";
  }

  const Images& images_;
  const std::string& images_origin_;
  const std::string& fallback_namespace_;
  std::map<objects::Key, ObjectPtr> present_;
  std::set<std::string> namespaces_;
  std::set<std::string> taken_;
  std::set<objects::Key> seen_;
};

}  // namespace

Admission admit(const std::vector<ObjectPtr>& wanted, const std::vector<ObjectPtr>& present,
                const Images& images, const std::string& images_origin,
                const std::string& fallback_namespace) {
  Admitter admitter(present, images, images_origin, fallback_namespace);
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
