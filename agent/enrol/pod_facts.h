#pragma once

#include "agent/compile/capture_scope.h"
#include "agent/enrol/pod_addresses.h"
#include "agent/source/source.h"

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace weft::enrol {

// "true" or "false": whether ztunnel answers the pod's DNS queries; as Istio names it.
constexpr const char* kDnsCaptureAnnotation = "ambient.istio.io/dns-capture";

// What enrolment needs to know of a pod of this node.
struct PodFacts {
  std::string uid;
  // As the kubelet and its runtime know it: of a pod from a file on the node (a static pod) the API
  // server's object has a uid of its own.
  std::string runtime_uid{};
  std::string ns;
  std::string name;
  std::string service_account;
  PodAddresses addresses;  // empty: none yet
  bool wanted = false;     // is to be in the mesh
  bool annotated = false;  // carries our annotation: some agent had captured it
  // What kDnsCaptureAnnotation says; nullopt: what the agent was started with.
  std::optional<bool> dns_capture;
  compile::CaptureScope scope{};
  std::vector<compile::AnnotationMistake> mistakes{};  // of the pod's annotations

  bool operator==(const PodFacts&) const = default;
};

// compile::is_to_be_enrolled, or a test's own.
using IsToBeEnrolled =
    std::function<bool(const weft::crd::core::Pod&, const weft::crd::core::Namespace*)>;

// Turns batches of changed objects into the facts about this node's pods. Pure.
class PodIndex {
 public:
  PodIndex(std::string node, IsToBeEnrolled is_to_be_enrolled)
      : node_(std::move(node)), is_to_be_enrolled_(std::move(is_to_be_enrolled)) {}

  // By uid: every live pod of this node after the changes. A pod that has ended (phase Succeeded or
  // Failed) is not live.
  const std::map<std::string, PodFacts>& apply(const std::vector<source::Change>& changes);
  const std::map<std::string, PodFacts>& pods() const { return facts_; }

 private:
  using ObjectPtr = std::shared_ptr<const objects::Object>;

  void rebuild();
  const weft::crd::core::Namespace* namespace_of(const std::string& name) const;

  std::string node_;
  IsToBeEnrolled is_to_be_enrolled_;
  std::map<objects::Key, ObjectPtr> pods_;  // of this node
  std::map<std::string, ObjectPtr> namespaces_;
  std::map<std::string, PodFacts> facts_;
};

}  // namespace weft::enrol
