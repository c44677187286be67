#pragma once

#include "ztunnel/learn/names.h"
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

// The tables behind a State. StateBuilder keeps one that it changes, and publishes copies: the maps
// are copied (about 0.1 us an entry), what they point to is shared.
struct State::Data {
  StringMap<std::shared_ptr<const Workload>> workloads;  // by uid
  std::unordered_map<IpAddress, std::shared_ptr<const Workload>> workloads_by_ip;
  StringMap<std::shared_ptr<const Workload>> pods;     // by "namespace/name"
  StringMap<std::shared_ptr<const Service>> services;  // by "namespace/hostname"
  VipTable vips;
  NameTable names;                                            // for DNS
  StringMap<std::shared_ptr<const policy::Policy>> policies;  // by "namespace/name"
  policy::PolicyList global_policies;
  StringMap<policy::PolicyList> namespace_policies;

  bool addresses_complete = false;
  bool policies_complete = false;
  // A policy did not fit below StateBuilder::kPoliciesMax: nobody knows what it would refuse.
  bool policies_lost = false;

  bool complete() const { return addresses_complete && policies_complete; }
};

}  // namespace weft::learn
