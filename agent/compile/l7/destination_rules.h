#pragma once

#include "agent/compile/compiler.h"
#include "agent/compile/l7/backend.h"
#include "agent/compile/store.h"

#include <optional>
#include <string>
#include <vector>

namespace weft::l7 {

// What the DestinationRules of one namespace say of a host: of those that name it most exactly the
// oldest's policy, and the subsets of all, of two with one name the older one's.
struct HostRule {
  std::string ns;
  std::string origin;                                      // "DestinationRule ns/name"
  const crd::networking::TrafficPolicy* policy = nullptr;  // null: none
  std::vector<const crd::networking::Subset*> subsets;
};

// Who asks: a waypoint, whose own namespace's rules come first.
struct Asker {
  std::string ns;
  std::string waypoint;  // its Gateway; empty: nobody in particular
};

// The rules in force for the service: of the asker's namespace, else the service's, else the root
// namespace's, as far as the asker sees them.
std::optional<HostRule> rule_for(const Name& service, const Asker& asker,
                                 const compile::Store& store, const compile::MeshConfig& config);

// What a subset of a service is called in Destinations, Policies and Workloads: its name; where a
// third namespace's rules have made it, with that namespace, for they concern nobody else.
std::string subset_key(const std::string& subset, const std::string& rule_ns, const Name& service,
                       const compile::MeshConfig& config);

// The subsets of its services ("namespace/hostname") that a workload with these labels is of, each
// as "<namespace>/<hostname>/<subset key>"; sorted.
std::vector<std::string> subsets_of(const compile::Labels& labels,
                                    const std::vector<std::string>& services,
                                    const compile::Store& store, const compile::MeshConfig& config);

}  // namespace weft::l7
