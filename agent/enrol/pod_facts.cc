#include "agent/enrol/pod_facts.h"

#include "agent/compile/compiler.h"
#include "ztunnel/base/log.h"

namespace weft::enrol {
namespace {

using weft::crd::core::Namespace;
using weft::crd::core::Pod;

// On the API server's object of a static pod: the pod's uid on its node.
constexpr const char* kMirrorAnnotation = "kubernetes.io/config.mirror";

bool is_live(const Pod& pod) {
  const std::string& phase = pod.status().phase();
  return phase != "Succeeded" && phase != "Failed";
}

void warn(const Pod& pod, const std::string& value, const char* what) {
  log::warn("enrol")
      .field("pod", pod.metadata().namespace_() + "/" + pod.metadata().name())
      .field("value", value)
      .say(what);
}

void add_address(const Pod& pod, const std::string& text, PodAddresses& addresses) {
  if (text.empty()) return;
  const Result<IpAddress> address = IpAddress::parse(text);
  if (address) {
    addresses.set(*address);
  } else {
    warn(pod, text, "status.podIPs: expected an IP address");
  }
}

// status.podIP repeats the first of status.podIPs, which older writers leave out.
PodAddresses addresses_of(const Pod& pod) {
  PodAddresses addresses;
  for (const auto& one : pod.status().podips()) add_address(pod, one.ip(), addresses);
  if (addresses.empty()) add_address(pod, pod.status().podip(), addresses);
  return addresses;
}

std::string runtime_uid_of(const Pod& pod) {
  const auto& annotations = pod.metadata().annotations();
  const auto mirrored = annotations.find(kMirrorAnnotation);
  return mirrored == annotations.end() ? pod.metadata().uid() : mirrored->second;
}

std::optional<bool> dns_capture_of(const Pod& pod,
                                   std::vector<compile::AnnotationMistake>& mistakes) {
  const auto& annotations = pod.metadata().annotations();
  const auto found = annotations.find(kDnsCaptureAnnotation);
  if (found == annotations.end()) return std::nullopt;
  if (found->second == "true") return true;
  if (found->second == "false") return false;
  mistakes.push_back(
      {kDnsCaptureAnnotation, "\"" + found->second + "\": expected \"true\" or \"false\""});
  return std::nullopt;
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
    std::vector<compile::AnnotationMistake> mistakes;
    PodFacts facts{
        .uid = metadata.uid(),
        .runtime_uid = runtime_uid_of(pod),
        .ns = key.ns,
        .name = key.name,
        .service_account = account.empty() ? "default" : account,
        .addresses = addresses_of(pod),
        .wanted = is_to_be_enrolled_(pod, namespace_of(key.ns)),
        .annotated = annotation != metadata.annotations().end() && annotation->second == "enabled",
        .dns_capture = dns_capture_of(pod, mistakes),
        .scope = compile::read_capture_scope(metadata.annotations(), mistakes)};
    facts.mistakes = std::move(mistakes);
    facts_[metadata.uid()] = std::move(facts);
  }
}

const Namespace* PodIndex::namespace_of(const std::string& name) const {
  const auto found = namespaces_.find(name);
  return found == namespaces_.end() ? nullptr : found->second->as<Namespace>();
}

}  // namespace weft::enrol
