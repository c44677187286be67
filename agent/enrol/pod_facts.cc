#include "agent/enrol/pod_facts.h"

#include "agent/compile/compiler.h"
#include "ztunnel/base/log.h"

namespace weft::enrol {
namespace {

using weft::crd::core::Namespace;
using weft::crd::core::Pod;

bool is_live(const Pod& pod) {
  const std::string& phase = pod.status().phase();
  return phase != "Succeeded" && phase != "Failed";
}

IpAddress address_of(const Pod& pod) {
  if (pod.status().podip().empty()) return {};
  const Result<IpAddress> address = IpAddress::parse(pod.status().podip());
  if (address) return *address;
  log::warn("enrol")
      .field("pod", pod.metadata().namespace_() + "/" + pod.metadata().name())
      .field("podIP", pod.status().podip())
      .say("status.podIP: expected an IP address");
  return {};
}

}  // namespace

const std::map<std::string, PodFacts>& PodIndex::apply(const std::vector<source::Change>& changes) {
  for (const source::Change& change : changes) {
    if (change.key.kind == "Namespace") {
      if (change.object) {
        namespaces_[change.key.name] = change.object;
      } else {
        namespaces_.erase(change.key.name);
      }
    } else if (change.key.kind == "Pod") {
      const Pod* pod = change.object ? change.object->as<Pod>() : nullptr;
      if (pod != nullptr && pod->spec().nodename() == node_) {
        pods_[change.key] = change.object;
      } else {
        pods_.erase(change.key);
      }
    }
  }
  rebuild();
  return facts_;
}

// A node has some hundred pods and changes come in batches, so there is nothing to gain from doing
// less.
void PodIndex::rebuild() {
  facts_.clear();
  for (const auto& [key, object] : pods_) {
    const Pod& pod = *object->as<Pod>();
    if (!is_live(pod)) continue;
    const auto& metadata = pod.metadata();
    const std::string& account = pod.spec().serviceaccountname();
    const auto annotation = metadata.annotations().find(compile::kRedirectionAnnotation);
    facts_[metadata.uid()] = PodFacts{
        .uid = metadata.uid(),
        .ns = key.ns,
        .name = key.name,
        .service_account = account.empty() ? "default" : account,
        .address = address_of(pod),
        .wanted = is_to_be_enrolled_(pod, namespace_of(key.ns)),
        .annotated = annotation != metadata.annotations().end() && annotation->second == "enabled"};
  }
}

const Namespace* PodIndex::namespace_of(const std::string& name) const {
  const auto found = namespaces_.find(name);
  return found == namespaces_.end() ? nullptr : found->second->as<Namespace>();
}

}  // namespace weft::enrol
