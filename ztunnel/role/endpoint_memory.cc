#include "ztunnel/role/endpoint_memory.h"

#include <algorithm>

namespace weft::role {

void EndpointMemory::failed(const SocketAddress& endpoint, Time now) {
  if (failing_.size() >= kEndpointsMax && !failing_.contains(endpoint)) failing_.clear();
  Failing& failing = failing_[endpoint];
  ++failing.failures;
  if (failing.failures < kFailuresMin) return;
  const uint32_t doublings = std::min<uint32_t>(failing.failures - kFailuresMin, 16);
  failing.avoided_until =
      now + std::min<std::chrono::seconds>(kAvoidMin * (1 << doublings), kAvoidMax);
}

bool EndpointMemory::is_avoided(const SocketAddress& endpoint, Time now) const {
  const auto found = failing_.find(endpoint);
  return found != failing_.end() && now < found->second.avoided_until;
}

}  // namespace weft::role
