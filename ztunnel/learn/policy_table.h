#pragma once

#include "ztunnel/learn/state_data.h"

#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace weft::learn {

// The policies of a State in the making: keeps them by scope, and their sets as they are asked: one
// for the mesh, one for each namespace, one for each combination that workloads name. A change
// costs the sets that it touches. Belongs to the learner's thread.
class PolicyTable {
 public:
  void put(PolicyIndex& index, const std::string& name,
           std::shared_ptr<const policy::Policy> policy);
  void erase(PolicyIndex& index, const std::string& name);
  // A workload that names these came, or went.
  void add_workload(const Workload& workload);
  void remove_workload(const Workload& workload);
  // Whether a workload names it.
  bool is_named(std::string_view name) const { return combinations_of_.contains(name); }

  // Makes the sets anew that have changed.
  void rebuild(PolicyIndex& index);

 private:
  using Policies = std::map<std::string, std::shared_ptr<const policy::Policy>>;  // by name
  struct Combination {
    std::vector<std::string> names;
    size_t workloads = 0;
  };

  void rebuild_combination(PolicyIndex& index, const std::string& key);

  Policies of_mesh_;
  std::map<std::string, Policies> of_namespace_;
  StringMap<Combination> combinations_;               // by Workload::policies_key
  StringMap<std::set<std::string>> combinations_of_;  // of a policy's name
  bool mesh_dirty_ = false;
  std::set<std::string> dirty_namespaces_;
  std::set<std::string> dirty_combinations_;
};

}  // namespace weft::learn
