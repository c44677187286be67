#pragma once

#include "agent/compile/compiler.h"
#include "agent/compile/store.h"
#include "agent/model/workload.h"
#include "ztunnel/base/spiffe_id.h"

#include <optional>
#include <string>
#include <utility>

namespace weft::compile {

std::string workload_uid(const std::string& ns, const std::string& name, const MeshConfig& config);

// canonical name and revision, by the labels that Istio and Kubernetes have for them, or else by
// workload_name.
void fill_canonical(const Labels& labels, model::Workload& workload);

// Nothing of a pod that has no address or has ended. One that is being deleted still calls others;
// it is called where nobody else is there.
std::optional<model::Workload> compile_workload(const crd::core::Pod& pod, const Store& store,
                                                const MeshConfig& config);

// The node that runs the pod and the identity that the pod has there; nothing for a pod that is not
// in the mesh, has no node yet, or has ended. A pod that is being deleted still talks.
std::optional<std::pair<std::string, SpiffeId>> identity_on_node(const crd::core::Pod& pod,
                                                                 const Store& store,
                                                                 const MeshConfig& config);

}  // namespace weft::compile
