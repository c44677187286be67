#pragma once

#include "agent/compile/compiler.h"
#include "agent/compile/l7/destination_rules.h"
#include "proto/route.pb.h"

namespace weft::l7 {

// How a service is reached, with every default filled in, by the rule (null: none) and the mesh's
// defaults. Nothing where neither says anything.
std::optional<weft::route::Policy> compile_policy(const Backend& service, const HostRule* rule,
                                                  const compile::MeshConfig& config);

// The parts of a DestinationRule's policy that are taken as wholes; null: nothing is said.
struct Settings {
  const crd::networking::LoadBalancer* balancer = nullptr;
  const crd::networking::ConnectionPool* pool = nullptr;
  const crd::networking::OutlierDetection* outlier = nullptr;
  const crd::networking::ClientTls* tls = nullptr;
  const crd::networking::ProxyProtocol* proxy_protocol = nullptr;
  const crd::networking::RetryBudget* budget = nullptr;
};
weft::route::Traffic compile_traffic(const Settings& settings, const Backend& service,
                                     const compile::MeshConfig& config);
void fill_balancing(const Settings& settings, const compile::MeshConfig& config,
                    weft::route::Balancing& out);

}  // namespace weft::l7
