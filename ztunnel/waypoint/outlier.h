#pragma once

#include "proto/route.pb.h"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>

namespace weft::waypoint {

using Clock = std::chrono::steady_clock;

// How an exchange with an endpoint went.
enum class Went : uint8_t {
  kAnswered,        // with a status
  kConnectFailure,  // these have none
  kReset,
  kTimeout,
};

// What the workers of one process know of one endpoint of one destination. Counted without a lock;
// an endpoint that is looked at by nobody is forgotten.
class EndpointHealth {
 public:
  bool is_ejected() const { return ejected_.load(std::memory_order_relaxed); }

 private:
  friend class Outliers;
  std::atomic<bool> ejected_{false};
  std::atomic<uint32_t> failures_5xx_{0};  // in a row, as the other two
  std::atomic<uint32_t> failures_gateway_{0};
  std::atomic<uint32_t> failures_local_{0};
  // Below here: under the lock of Outliers.
  Clock::time_point ejected_until_;
  uint32_t times_ = 0;  // it was ejected lately
};

// Ejects endpoints of one destination that fail in a row and lets them return: Envoy's outlier
// detection as far as Istio uses it. Shared by all workers, so that a row of failures is one
// wherever its requests ran.
class Outliers {
 public:
  explicit Outliers(const weft::route::Outlier& config);

  void update(const weft::route::Outlier& config);
  // The endpoint of that name as all workers see it.
  std::shared_ptr<EndpointHealth> endpoint(const std::string& name);

  // `status` of kAnswered.
  void went(EndpointHealth& endpoint, Went how, int status, Clock::time_point now);
  // Lets those return whose time is over, once in an interval; cheap when there is nothing to do.
  void tick(Clock::time_point now);
  // Changes whenever an endpoint is ejected or returns.
  uint64_t generation() const { return generation_.load(std::memory_order_acquire); }
  // Ejections that were made since the start, for metrics.
  uint64_t ejections() const { return ejections_.load(std::memory_order_relaxed); }

 private:
  // Where the configuration says nothing, Istio's.
  static constexpr std::chrono::milliseconds kInterval{10'000};
  static constexpr std::chrono::milliseconds kEjection{30'000};
  static constexpr std::chrono::milliseconds kEjectionMax{
      300'000};  // Envoy's, unless one is longer

  std::chrono::milliseconds interval() const;
  bool reaches(std::atomic<uint32_t>& failures, uint32_t most);
  void eject(EndpointHealth& endpoint, Clock::time_point now);
  void forget_gone();

  mutable std::mutex mutex_;
  weft::route::Outlier config_;
  std::map<std::string, std::weak_ptr<EndpointHealth>> endpoints_;
  size_t ejected_now_ = 0;
  std::atomic<uint32_t> most_5xx_{0};  // what went() needs of the configuration
  std::atomic<uint32_t> most_gateway_{0};
  std::atomic<uint32_t> most_local_{0};
  std::atomic<bool> split_local_{false};
  std::atomic<int64_t> next_tick_{0};  // nanoseconds of Clock
  std::atomic<uint64_t> generation_{0};
  std::atomic<uint64_t> ejections_{0};
};

}  // namespace weft::waypoint
