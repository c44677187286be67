#pragma once

#include "ztunnel/hbone/connect.h"
#include "ztunnel/learn/state.h"

#include <random>
#include <string>

namespace weft::role {

// What a CONNECT says about the connection it carries (reference: ztunnel.md 1.1).
hbone::ConnectRequest connect_request(const learn::Workload& source, const SocketAddress& client,
                                      std::string authority, const learn::Service* service,
                                      std::mt19937_64& random);

// A workload as labels: "k8s.cluster.name=..,k8s.namespace.name=..,k8s.deployment.name=..,..".
std::string baggage_of(const learn::Workload& workload);

}  // namespace weft::role
