#pragma once

#include "ztunnel/base/result.h"
#include "ztunnel/learn/view.h"

#include <cstdint>

namespace weft::learn {

// Istio's ports inside a pod whose connections are redirected (reference: ztunnel 1.0). They are no
// application's.
constexpr uint16_t kOutboundPort = 15001;
constexpr uint16_t kInboundPlainPort = 15006;
constexpr uint16_t kTunnelPort = 15008;
constexpr uint16_t kDnsPort = 15053;

// Opens in a pod's network namespace what Istio's ztunnel opens there: the agent of a pod that came
// without sockets redirects to these ports (`Pod::redirected`). With SO_REUSEPORT: while one
// ztunnel takes over from another, both listen. IPv6's are left out where the pod has no IPv6.
Result<void> open_redirected(Pod& pod);

}  // namespace weft::learn
