#pragma once

#include "proto/xds.pb.h"
#include "ztunnel/learn/policy_table.h"

#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace weft::learn {

constexpr std::string_view kAddressType = "type.googleapis.com/istio.workload.Address";
constexpr std::string_view kAuthorizationType = "type.googleapis.com/istio.security.Authorization";

using DeltaResponse = envoy::service::discovery::v3::DeltaDiscoveryResponse;
using XdsResource = envoy::service::discovery::v3::Resource;

// Turns what control sends into States. Belongs to the learner's thread.
//
// One wrong resource does not spoil a response: the others are applied, and of the wrong one the
// last good version stays. An Authorization that never was good is replaced by one that denies
// everyone in its scope (GLOBAL where the scope cannot be read), because nobody knows whom it was
// to refuse.
//
// An Authorization that is removed while a workload still names it stays in force until none does:
// on a new stream control tells of Authorizations before Addresses, and in between every connection
// to that workload would be refused.
class StateBuilder {
 public:
  // Far above a cluster of 5000 nodes; below what would fill a node's memory.
  static constexpr size_t kAddressesMax = 1'000'000;
  static constexpr size_t kPoliciesMax = 100'000;

  // `cluster_id`: whose pods win where two clusters' pods have one name or address. `network`:
  // ours; addresses of another one mean nothing here, and its workloads cannot be reached.
  explicit StateBuilder(std::string cluster_id, std::string network = "");

  struct Rejection {
    std::string name;
    std::string error;
  };
  // Applies one response. The first one of a type makes that type complete: delta xDS sends the
  // whole set first. Returns what was refused.
  std::vector<Rejection> apply(const DeltaResponse& response);

  // Costs a copy of what has changed since the last one, and a new Service for each whose members
  // did.
  std::shared_ptr<const State> publish();
  // Whether what has changed since publish() decides who may connect: a policy, the policies that a
  // workload names, or that there is a complete configuration at all.
  bool is_urgent() const { return urgent_; }

  // What to tell control that we have, by name, on a new stream. A resource that was refused is
  // named too (so that its removal is told), with a version that differs from control's.
  std::map<std::string, std::string> versions(std::string_view type) const;
  // As received, for the snapshot. A policy that never was good is among them: it must deny after a
  // restore too.
  std::vector<std::shared_ptr<const XdsResource>> resources(std::string_view type) const;

  const State::Data& data() const { return data_; }

 private:
  struct Stored {
    std::shared_ptr<const XdsResource> resource;  // the last good one, or else the refused one
    bool good = true;
    bool is_workload = false;
  };
  using Members = std::map<std::string, std::shared_ptr<const Workload>, std::less<>>;

  Result<void> apply_address(const XdsResource& resource);
  Result<void> apply_policy(const XdsResource& resource);
  Result<void> deny_in_place_of(const XdsResource& resource);
  void remove_address(const std::string& name);
  void remove_policy(const std::string& name);
  void note_policies(const Workload& workload);
  void put_workload(std::shared_ptr<const Workload> workload);
  void remove_workload(const std::string& uid);
  void put_service(const std::string& key, std::shared_ptr<const Service> service);
  void remove_service(const std::string& key);
  void rebuild_service(const std::string& key);

  template <class Map, class Key>
  void claim(Map& table, std::map<Key, std::vector<typename Map::mapped_type>>& claims,
             const Key& key, typename Map::mapped_type value);
  template <class Map, class Key>
  void unclaim(Map& table, std::map<Key, std::vector<typename Map::mapped_type>>& claims,
               const Key& key, const typename Map::mapped_type& value);
  bool wins(const Workload& one, const Workload& other) const;

  std::string cluster_id_;
  std::string network_;
  State::Data data_;
  StringMap<Stored> addresses_;
  StringMap<Stored> authorizations_;
  StringMap<std::shared_ptr<const Service>> service_specs_;  // without endpoints
  StringMap<Members> members_;  // of services, also of ones that are not known yet
  std::set<std::string> services_to_rebuild_;
  bool policies_changed_ = false;
  bool urgent_ = false;
  PolicyTable policies_;
  std::set<std::string> condemned_;  // removed by control, still named
  // Several may claim one address or pod name; the first of each vector is in force.
  std::map<IpAddress, std::vector<std::shared_ptr<const Workload>>> ip_claims_;
  std::map<std::string, std::vector<std::shared_ptr<const Workload>>> pod_claims_;
};

}  // namespace weft::learn
