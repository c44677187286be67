#pragma once

#include "ztunnel/learn/names.h"
#include "ztunnel/learn/shared_map.h"
#include "ztunnel/learn/state.h"
#include "ztunnel/learn/vips.h"

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>

namespace weft::learn {

struct StringHash {
  using is_transparent = void;
  size_t operator()(std::string_view text) const noexcept {
    return std::hash<std::string_view>{}(text);
  }
};

template <class T>
using StringMap = std::unordered_map<std::string, T, StringHash, std::equal_to<>>;

template <class T>
using SharedStringMap = SharedMap<std::string, T, StringHash>;

// Who may connect to what: the policies, and sets of them as they are asked. PolicyTable keeps it.
struct PolicyIndex {
  struct Named {
    std::shared_ptr<const policy::PolicySet> set;  // null where one is missing
    std::string missing;                           // the name of it
  };
  SharedStringMap<std::shared_ptr<const policy::Policy>> policies;  // by "namespace/name"
  std::shared_ptr<const policy::PolicySet> of_mesh;                 // null: none
  SharedStringMap<std::shared_ptr<const policy::PolicySet>> of_namespace;
  SharedStringMap<Named> named;  // by Workload::policies_key
};

// The tables behind a State. StateBuilder keeps one that it changes, and publishes copies, which
// share with it all that has not changed since the copy before.
struct State::Data {
  SharedStringMap<std::shared_ptr<const Workload>> workloads;  // by uid
  SharedMap<IpAddress, std::shared_ptr<const Workload>> workloads_by_ip;
  SharedStringMap<std::shared_ptr<const Workload>> pods;     // by "namespace/name"
  SharedStringMap<std::shared_ptr<const Service>> services;  // by "namespace/hostname"
  VipTable vips;
  NameTable names;  // for DNS
  PolicyIndex authorization;

  // Grows with every change that may refuse a connection which was allowed before.
  uint64_t policy_generation = 0;
  bool addresses_complete = false;
  bool policies_complete = false;
  // A policy did not fit below StateBuilder::kPoliciesMax: nobody knows what it would refuse.
  bool policies_lost = false;

  bool complete() const { return addresses_complete && policies_complete; }
};

}  // namespace weft::learn
