#pragma once

#include "ztunnel/learn/state.h"
#include "ztunnel/policy/authorize.h"

namespace weft::node {

// Whether the destination accepts the connection. kRefused with the words that Istio's ztunnel
// logs: "connection closed due to policy rejection: ...". Where the policies are not all known:
// refused too.
inline Result<void> authorize_inbound(const learn::State& state, const learn::Workload& destination,
                                      const policy::Connection& connection) {
  Result<policy::PolicySets> policies = state.policies_for(destination);
  if (!policies) {
    return Fail(Error(Code::kRefused, "connection closed due to policy rejection",
                      std::move(policies.error())));
  }
  policy::Verdict verdict = policy::authorize(*policies, connection);
  if (verdict.allowed) return {};
  return Fail(
      Error(Code::kRefused, "connection closed due to policy rejection: " + verdict.reason));
}

}  // namespace weft::node
