#pragma once

#include "agent/compile/analyze/cluster.h"
#include "agent/model/policy.h"

#include <vector>

namespace weft::analyze {

// Every policy that a workload's own ztunnel asks, those that deny first.
std::vector<model::Policy> policies_over(const Cluster& cluster, const Shape& shape);

}  // namespace weft::analyze
