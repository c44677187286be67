#include "ztunnel/learn/policy_table.h"

namespace weft::learn {
namespace {

std::shared_ptr<const policy::PolicySet> set_of(
    const std::map<std::string, std::shared_ptr<const policy::Policy>>& policies) {
  policy::PolicyList list;
  list.reserve(policies.size());
  for (const auto& [name, policy] : policies) list.push_back(policy);
  return policy::make_set(std::move(list));
}

}  // namespace

void PolicyTable::put(PolicyIndex& index, const std::string& name,
                      std::shared_ptr<const policy::Policy> policy) {
  erase(index, name);
  switch (policy::scope_of(*policy)) {
    case istio::security::GLOBAL:
      of_mesh_[name] = policy;
      mesh_dirty_ = true;
      break;
    case istio::security::NAMESPACE:
      of_namespace_[policy::namespace_of(*policy)][name] = policy;
      dirty_namespaces_.insert(policy::namespace_of(*policy));
      break;
    default:  // those of WORKLOAD_SELECTOR are found by name
      break;
  }
  index.policies[name] = std::move(policy);
}

void PolicyTable::erase(PolicyIndex& index, const std::string& name) {
  if (const auto found = combinations_of_.find(name); found != combinations_of_.end()) {
    dirty_combinations_.insert(found->second.begin(), found->second.end());
  }
  const auto known = index.policies.find(name);
  if (known == index.policies.end()) return;
  const std::string ns = policy::namespace_of(*known->second);
  if (of_mesh_.erase(name) > 0) mesh_dirty_ = true;
  if (const auto in = of_namespace_.find(ns); in != of_namespace_.end()) {
    if (in->second.erase(name) > 0) dirty_namespaces_.insert(ns);
    if (in->second.empty()) of_namespace_.erase(in);
  }
  index.policies.erase(name);
}

void PolicyTable::add_workload(const Workload& workload) {
  if (workload.authorization_policies.empty()) return;
  Combination& combination = combinations_[workload.policies_key];
  if (combination.workloads++ > 0) return;
  combination.names = workload.authorization_policies;
  for (const std::string& name : combination.names) {
    combinations_of_[name].insert(workload.policies_key);
  }
  dirty_combinations_.insert(workload.policies_key);
}

void PolicyTable::remove_workload(const Workload& workload) {
  const auto found = combinations_.find(workload.policies_key);
  if (found == combinations_.end() || --found->second.workloads > 0) return;
  for (const std::string& name : found->second.names) {
    const auto of = combinations_of_.find(name);
    if (of == combinations_of_.end()) continue;
    of->second.erase(workload.policies_key);
    if (of->second.empty()) combinations_of_.erase(of);
  }
  combinations_.erase(found);
  dirty_combinations_.insert(workload.policies_key);
}

void PolicyTable::rebuild_combination(PolicyIndex& index, const std::string& key) {
  const auto found = combinations_.find(key);
  if (found == combinations_.end()) {
    index.named.erase(key);
    return;
  }
  PolicyIndex::Named named;
  policy::PolicyList list;
  for (const std::string& name : found->second.names) {
    const auto policy = index.policies.find(name);
    if (policy == index.policies.end()) {
      named.missing = name;
      break;
    }
    list.push_back(policy->second);
  }
  if (named.missing.empty()) named.set = policy::make_set(std::move(list));
  index.named[key] = std::move(named);
}

void PolicyTable::rebuild(PolicyIndex& index) {
  if (std::exchange(mesh_dirty_, false)) {
    index.of_mesh = of_mesh_.empty() ? nullptr : set_of(of_mesh_);
  }
  for (const std::string& ns : std::exchange(dirty_namespaces_, {})) {
    const auto found = of_namespace_.find(ns);
    if (found == of_namespace_.end()) {
      index.of_namespace.erase(ns);
    } else {
      index.of_namespace[ns] = set_of(found->second);
    }
  }
  for (const std::string& key : std::exchange(dirty_combinations_, {}))
    rebuild_combination(index, key);
}

}  // namespace weft::learn
