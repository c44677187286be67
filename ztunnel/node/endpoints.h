#pragma once

#include "ztunnel/base/fd.h"
#include "ztunnel/http/http1_server.h"
#include "ztunnel/learn/view.h"
#include "ztunnel/node/admin.h"
#include "ztunnel/runtime/socket.h"
#include "ztunnel/runtime/sync.h"
#include "ztunnel/telemetry/metrics.h"

#include <functional>
#include <string>
#include <vector>

namespace weft::node {

constexpr uint16_t kAdminPort = 15000;      // loopback: admin.h
constexpr uint16_t kMetricsPort = 15020;    // /metrics, /stats/prometheus
constexpr uint16_t kReadinessPort = 15021;  // /healthz/ready

// What ztunnel itself answers on, in its own network namespace: metrics, readiness, admin. On the
// learner's loop, away from the workers.
class Endpoints {
 public:
  Endpoints(runtime::Loop& loop, const telemetry::Registry& metrics, const learn::Learner& learner);

  // kUnavailable "port 15020 is in use: ..." where another process has one of the ports.
  Result<void> listen();
  void start();
  runtime::Task<void> stop();

 private:
  struct Served {
    Fd listener;
    http::Handler handler;
    std::unique_ptr<runtime::Acceptor> acceptor;
  };
  Result<void> add(const SocketAddress& address, http::Handler handler);

  runtime::Loop& loop_;
  const telemetry::Registry& metrics_;
  const learn::Learner& learner_;
  Admin admin_;
  std::vector<std::unique_ptr<Served>> served_;
  runtime::TaskScope tasks_;
};

// The status as JSON, and whether ztunnel is ready: connected to its agent, with a complete
// configuration (from control, or from the snapshot of an earlier run).
std::string status_json(const learn::LearnerStatus& status);
std::vector<std::string> not_ready_because(const learn::LearnerStatus& status);

}  // namespace weft::node
