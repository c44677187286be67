#pragma once

#include "proto/workload.pb.h"
#include "ztunnel/base/ip.h"
#include "ztunnel/base/spiffe_id.h"
#include "ztunnel/learn/candidates.h"
#include "ztunnel/policy/authorize.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace weft::learn {

class NameTable;
struct Service;

struct Locality {
  std::string region;
  std::string zone;
  std::string subzone;
};

// A workload whose proxy takes every connection on one port (reference: ztunnel.md 1.15).
struct ApplicationTunnel {
  bool proxy_protocol = false;  // behind a PROXY protocol header
  uint16_t port = 0;            // 0: the port that was asked for
};

// Through whom traffic goes to a workload or service: one of the pods of a Service.
struct Waypoint {
  std::string service;               // "namespace/hostname"; empty: by its address
  std::optional<IpAddress> address;  // virtual
  uint16_t port = 0;                 // the Service's, for HBONE
  uint32_t weight = 1;               // among several
};

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
  std::string hostname;        // without addresses: looked up when somebody connects to it
  std::string network;         // empty: of a mesh that has only one
  bool other_network = false;  // not ours: there is no way to it yet, traffic to it is refused
  Locality locality;
  bool hbone = false;
  bool healthy = true;
  bool serving_while_terminating = false;  // then it is not healthy
  uint32_t capacity = 1;
  // Services it belongs to ("ns/hostname"); service port -> target port of each.
  std::unordered_map<std::string, std::unordered_map<uint16_t, uint16_t>> services;
  std::vector<std::string> authorization_policies;  // "ns/name"
  std::string policies_key;                         // one text for all of them; empty: none
  std::optional<ApplicationTunnel> application_tunnel;
  bool host_network = false;         // its IP is the node's: not found by IP
  std::vector<Waypoint> waypoints;   // none: straight to it
  std::vector<std::string> subsets;  // of services: "namespace/hostname/subset"
  bool registry_only = false;        // as a source: it may only connect to what the mesh knows
  std::string pod_hostname;   // of the pod's spec, as pod_subdomain: its own name below a headless
  std::string pod_subdomain;  // service of that name
};

struct Endpoint {
  std::shared_ptr<const Workload> workload;
  std::unordered_map<uint16_t, uint16_t> ports;  // service port -> target port
};

enum class IpFamilies : uint8_t { kAny, kV4, kV6, kDual };

// Which endpoints a client may be sent to, and which it prefers.
struct Balancing {
  enum class Mode : uint8_t {
    kAnywhere,     // all alike
    kStrict,       // only those that share all scopes with the client
    kFailover,     // those that share the most scopes, the first one first
    kPassthrough,  // not to an endpoint but to where the client wanted to go
  };
  Mode mode = Mode::kAnywhere;
  std::vector<Scope> scopes;  // the most important first
  bool unready_too = false;
  bool client_affinity = false;  // a client's connections go to the same endpoint
};

struct Service {
  std::string name;
  std::string ns;
  std::string hostname;
  std::vector<IpAddress> vips;
  std::vector<Cidr> vip_ranges;  // virtual addresses that are whole ranges
  std::unordered_map<uint16_t, uint16_t>
      ports;  // service port -> target port (0: each endpoint's own)
  std::vector<SpiffeId> subject_alt_names;
  std::vector<Endpoint> endpoints;
  std::vector<Waypoint> waypoints;  // any of them; none: straight to an endpoint
  Balancing balancing;
  IpFamilies families = IpFamilies::kAny;
  bool canonical = false;           // what Kubernetes itself knows: preferred among equals
  bool only_own_namespace = false;  // hidden from clients of other namespaces
  std::string external_name;        // an alias in DNS, without addresses or endpoints
  std::unordered_map<uint16_t, std::string> port_names;  // by service port
  std::vector<PortCandidates> candidates;                // made of endpoints

  // Null where no endpoint serves that port now.
  const PortCandidates* candidates_for(uint16_t port) const;
};

// Everything a node proxy knows of the mesh at one moment. Immutable: workers read it without a
// lock and get the next one by Loop::post. Look-ups take constant time.
class State {
 public:
  std::shared_ptr<const Workload> workload_by_ip(const IpAddress& ip) const;
  std::shared_ptr<const Workload> workload_by_uid(std::string_view uid) const;
  // A pod as ZDS names it. Null: control has not told us yet.
  std::shared_ptr<const Workload> workload_of_pod(std::string_view ns, std::string_view name) const;
  // What a client of a namespace means by an address, by the longest match: a service's address, a
  // workload's (then null), a service's range. See VipTable for several with the same one.
  std::shared_ptr<const Service> service_by_address(const IpAddress& ip,
                                                    std::string_view client_ns) const;
  // What DNS names mean.
  const NameTable& names() const;
  std::shared_ptr<const Service> service_by_key(std::string_view ns_and_hostname) const;
  // The Service of a waypoint; null: it is not known (any more).
  std::shared_ptr<const Service> service_of(const Waypoint& waypoint) const;
  // What applies to a workload as a destination. An Error (kUnavailable) before the first complete
  // set of Authorizations, or where the workload names one that is not there: refuse.
  // Good as long as this State is.
  Result<policy::PolicySets> policies_for(const Workload& workload) const;

  // Where two States have the same, no connection that one allows is refused by the other.
  uint64_t policy_generation() const;

  struct Data;
  explicit State(std::shared_ptr<const Data> data) : data_(std::move(data)) {}
  const Data& data() const { return *data_; }

 private:
  std::shared_ptr<const Data> data_;
};

}  // namespace weft::learn
