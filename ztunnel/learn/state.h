#pragma once

#include "proto/workload.pb.h"
#include "ztunnel/base/ip.h"
#include "ztunnel/base/spiffe_id.h"
#include "ztunnel/policy/authorize.h"

#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace weft::learn {

struct Service;

// A workload as the data path uses it: parsed, with what a decision needs already resolved.
struct Workload {
  std::string uid;
  std::string name;
  std::string ns;
  std::string node;
  std::string cluster_id;
  std::string canonical_name;
  std::string canonical_revision;
  std::string workload_name;
  std::string workload_type;  // "deployment", "cronjob", "pod", "job"
  SpiffeId identity;
  std::vector<IpAddress> addresses;
  bool hbone = false;
  bool healthy = true;
  uint32_t capacity = 1;
  // Services it belongs to ("ns/hostname"); service port -> target port of each.
  std::unordered_map<std::string, std::unordered_map<uint16_t, uint16_t>> services;
  std::vector<std::string> authorization_policies;  // "ns/name"
  bool host_network = false;                        // its IP is the node's: not found by IP
  bool has_waypoint =
      false;  // waypoints are not served yet: traffic that is to pass one is refused
};

struct Endpoint {
  std::shared_ptr<const Workload> workload;
  std::unordered_map<uint16_t, uint16_t> ports;  // service port -> target port
};

struct Service {
  std::string name;
  std::string ns;
  std::string hostname;
  std::vector<IpAddress> vips;
  std::unordered_map<uint16_t, uint16_t>
      ports;  // service port -> target port (0: each endpoint's own)
  std::vector<SpiffeId> subject_alt_names;
  std::vector<Endpoint> endpoints;
  bool has_waypoint = false;  // waypoints are not served yet: traffic to such a service is refused
};

// Everything a node proxy knows of the mesh at one moment. Immutable: workers read it without a
// lock and get the next one by Loop::post. Look-ups take constant time.
class State {
 public:
  std::shared_ptr<const Workload> workload_by_ip(const IpAddress& ip) const;
  std::shared_ptr<const Workload> workload_by_uid(std::string_view uid) const;
  // A pod as ZDS names it. Null: control has not told us yet.
  std::shared_ptr<const Workload> workload_of_pod(std::string_view ns, std::string_view name) const;
  std::shared_ptr<const Service> service_by_vip(const IpAddress& vip) const;
  std::shared_ptr<const Service> service_by_key(std::string_view ns_and_hostname) const;
  // What applies to a workload as a destination. An Error (kUnavailable) before the first complete
  // set of Authorizations, or where the workload names one that is not there: refuse.
  Result<policy::PolicyList> policies_for(const Workload& workload) const;

  struct Data;
  explicit State(std::shared_ptr<const Data> data) : data_(std::move(data)) {}
  const Data& data() const { return *data_; }

 private:
  std::shared_ptr<const Data> data_;
};

}  // namespace weft::learn
