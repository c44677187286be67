#pragma once

#include "agent/sandbox/store.h"
#include "proto/crd/core.pb.h"
#include "ztunnel/base/result.h"

#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace weft::sandbox {

// What controllers and scheduler of a cluster decide, as pure functions over objects.

using PodPtr = std::shared_ptr<const crd::core::Pod>;

bool is_ready(const crd::core::Pod& pod);
bool is_finished(const crd::core::Pod& pod);  // Succeeded or Failed: it will not run again
inline bool is_leaving(const crd::core::Pod& pod) {
  return !pod.metadata().deletiontimestamp().empty();
}

// What brings a Deployment's pods from what is to what is wanted. A changed template makes new pods
// first and removes the old ones when enough of the new are ready.
struct DeploymentPlan {
  std::vector<std::shared_ptr<crd::core::Pod>> create;  // without a node
  std::vector<PodPtr> remove;
};
// `pods`: those that the Deployment owns. `suffix` yields five characters that no pod of it has.
DeploymentPlan plan_deployment(const crd::core::Deployment& deployment,
                               const std::vector<PodPtr>& pods,
                               const std::function<std::string()>& suffix);

// How many pods of the Deployment's present template are ready.
size_t ready_replicas(const crd::core::Deployment& deployment, const std::vector<ObjectPtr>& all);

// Changes exactly when the pods made from the template would.
std::string template_hash(const crd::core::PodTemplateSpec& pod_template);
constexpr const char* kTemplateHashLabel = "pod-template-hash";

// The node for a pod: the one with fewest pods of the same owner, then fewest pods, then the first.
// kUnavailable, in a scheduler's words, where nodeSelector or nodeName fits none. `placed`: all
// pods that have a node.
Result<std::string> choose_node(const crd::core::Pod& pod, const std::vector<std::string>& nodes,
                                const std::vector<PodPtr>& placed);

}  // namespace weft::sandbox
