#pragma once

#include "ztunnel/base/ip.h"

#include <chrono>
#include <cstddef>
#include <unordered_map>

namespace weft::role {

// Which endpoints lately refused to be connected to: they are avoided for a while, so that one that
// is down costs a few connections and not every one that is sent there. One for each worker; no
// clock of its own.
class EndpointMemory {
 public:
  using Time = std::chrono::steady_clock::time_point;

  // Failures in a row before an endpoint is avoided: one may be a restart that is over already.
  static constexpr uint32_t kFailuresMin = 3;
  // How long it is then left alone, doubled with every failure that follows.
  static constexpr std::chrono::seconds kAvoidMin{1};
  static constexpr std::chrono::seconds kAvoidMax{60};
  // Endpoints that are remembered; only failing ones are. Beyond it the table starts anew: it is a
  // hint, and a node with so many dead endpoints has other troubles.
  static constexpr size_t kEndpointsMax = 4096;

  void succeeded(const SocketAddress& endpoint) { failing_.erase(endpoint); }
  void failed(const SocketAddress& endpoint, Time now);
  bool is_avoided(const SocketAddress& endpoint, Time now) const;
  size_t size() const { return failing_.size(); }

 private:
  struct Failing {
    uint32_t failures = 0;
    Time avoided_until;
  };
  std::unordered_map<SocketAddress, Failing> failing_;
};

}  // namespace weft::role
