#pragma once

#include "agent/compile/compiler.h"
#include "agent/compile/store.h"
#include "agent/model/workload.h"

#include <map>
#include <string>
#include <vector>

namespace weft::compile {

// Services by key, with the workload's own port behind each of the service's.
using Memberships = std::map<std::string, std::vector<model::PortPair>>;

// The labels by which it is selected: its spec's, and what its metadata has besides.
Labels labels_of(const crd::networking::WorkloadEntry& entry);

// The Services and hosts of ServiceEntries of the namespace that select the workload.
Memberships services_of(const crd::core::Pod& pod, const Store& store, const MeshConfig& config);
Memberships services_of(const crd::networking::WorkloadEntry& entry, const Store& store,
                        const MeshConfig& config);

// The subsets of these services that a workload with these labels is of.
std::vector<std::string> subsets_of(const Labels& labels, const Memberships& services,
                                    const Store& store, const MeshConfig& config);

// Keys of the policies that select a workload with these labels; sorted.
std::vector<std::string> policies_over(const std::string& ns, const Labels& labels,
                                       const Store& store, const MeshConfig& config);

}  // namespace weft::compile
