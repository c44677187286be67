#pragma once

#include "ztunnel/base/ip.h"

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace weft::model {

// A port of a Service and the workload's own port behind it. A Service's named target port differs
// from workload to workload: there `target` is 0.
struct PortPair {
  uint32_t service = 0;
  uint32_t target = 0;
  auto operator<=>(const PortPair&) const = default;
};

enum class WorkloadType { kPod, kDeployment, kJob, kCronJob };

// Where a workload's proxy takes every connection, and whether behind a PROXY protocol header.
struct ApplicationTunnel {
  bool proxy_protocol = false;
  uint16_t port = 0;  // 0: the port that was asked for
};

// The Service of a waypoint, which traffic passes first.
struct Waypoint {
  std::string ns;
  std::string hostname;
  uint16_t port = 0;  // for HBONE
};

struct Locality {
  std::string region;
  std::string zone;
  std::string subzone;
};

// A pod that others may talk to, or what a WorkloadEntry, a ServiceEntry or an EndpointSlice says
// is there.
struct Workload {
  std::string uid;  // "<cluster>/<group>/<kind>/<namespace>/<name>[/<part>]"
  std::string name;
  std::string ns;
  std::vector<IpAddress> addresses;
  std::string service_account;
  std::string trust_domain;
  std::string node;
  std::string cluster_id;
  std::string canonical_name;
  std::string canonical_revision;
  std::string workload_name;  // of what made it: the Deployment, the Job
  WorkloadType type = WorkloadType::kPod;
  bool hbone = false;  // its node has reported that its traffic is captured, or it does so itself:
  bool native_tunnel = false;  // it speaks HBONE, without a ztunnel
  std::optional<ApplicationTunnel> application_tunnel;
  bool host_network = false;  // its addresses are its node's
  bool healthy = false;
  bool serving_while_terminating = false;  // then it is not healthy
  bool registry_only = false;              // it may only connect to what the mesh knows
  std::string hostname;                    // where it has no address: to be looked up in DNS
  std::string network;                     // empty: ours
  std::optional<Waypoint> waypoint;        // of what is sent to its own addresses
  Locality locality;
  uint32_t capacity = 1;
  std::string pod_hostname;   // of the pod's spec: its own name below a headless Service
  std::string pod_subdomain;  // of that name
  std::map<std::string, std::vector<PortPair>> services;  // by Service::key()
  std::vector<std::string> subsets;  // of its services: "<namespace>/<hostname>/<subset>"; sorted
  std::vector<std::string> policies;                      // keys of those that select it; sorted
};

}  // namespace weft::model
