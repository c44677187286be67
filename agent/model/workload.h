#pragma once

#include "ztunnel/base/ip.h"

#include <cstdint>
#include <map>
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

// A pod that others may talk to.
struct Workload {
  std::string uid;  // "<cluster>//Pod/<namespace>/<name>"
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
  bool hbone = false;         // its node has reported that its traffic is captured
  bool host_network = false;  // its addresses are its node's
  bool healthy = false;
  std::map<std::string, std::vector<PortPair>> services;  // by Service::key()
  std::vector<std::string> policies;                      // keys of those that select it; sorted
};

}  // namespace weft::model
