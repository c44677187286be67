#pragma once

#include "ztunnel/base/fd.h"
#include "ztunnel/http/http1_server.h"
#include "ztunnel/learn/view.h"
#include "ztunnel/role/admin.h"
#include "ztunnel/runtime/socket.h"
#include "ztunnel/runtime/sync.h"
#include "ztunnel/telemetry/metrics.h"

#include <chrono>
#include <functional>
#include <string>
#include <vector>

namespace weft::role {

constexpr uint16_t kAdminPort = 15000;      // loopback: admin.h
constexpr uint16_t kMetricsPort = 15020;    // /metrics, /stats/prometheus
constexpr uint16_t kReadinessPort = 15021;  // /healthz/ready

// How long a port may still be taken by a ztunnel that was killed just now: its io_uring holds
// listeners until the kernel has torn it down, some ms as a rule.
constexpr std::chrono::milliseconds kPortsWait{2'000};
constexpr std::chrono::milliseconds kPortsTurn{20};

// What ztunnel itself answers on, in its own network namespace: metrics, readiness, admin. On the
// learner's loop, away from the workers.
//
// Where a ztunnel takes over from another in the same namespace, the older one answers until it is
// asked to end, and then the younger: never both.
class Endpoints {
 public:
  Endpoints(runtime::Loop& loop, const telemetry::Registry& metrics, Admin::Sources sources);

  // Takes kPortsWait at most. The error names the port that another process has; with
  // `takeover` that is none: start() takes such ports once they are free.
  runtime::Task<Result<void>> listen(bool takeover);
  void start();
  runtime::Task<void> stop();  // the ports are free behind it

 private:
  struct Served {
    SocketAddress address;
    http::Handler handler;
    Fd listener;  // none: another ztunnel still has the port
    std::unique_ptr<runtime::Acceptor> acceptor;
  };
  void add(const SocketAddress& address, http::Handler handler);
  Result<void> open(Served& served);
  void run(Served& served);
  runtime::Task<void> take_over();

  runtime::Loop& loop_;
  const telemetry::Registry& metrics_;
  const learn::Learner& learner_;
  Admin admin_;
  std::vector<std::unique_ptr<Served>> served_;
  bool stopped_ = false;
  runtime::TaskScope tasks_;
};

// The status as JSON, and whether ztunnel is ready: connected to its agent, with a complete
// configuration (from control, or from the snapshot of an earlier run).
std::string status_json(const learn::LearnerStatus& status);
std::vector<std::string> not_ready_because(const learn::LearnerStatus& status);

}  // namespace weft::role
