#pragma once

#include "ztunnel/hbone/pool.h"
#include "ztunnel/learn/state.h"
#include "ztunnel/role/relay.h"
#include "ztunnel/runtime/loop.h"
#include "ztunnel/telemetry/access_log.h"
#include "ztunnel/telemetry/metrics.h"

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_set>

namespace weft::role {

using Direction = telemetry::AccessRecord::Direction;
using Flag = telemetry::Flag;

class Report;

// As which a tunnel that could not be had counts.
Flag flag_of(hbone::Flag flag);

// Where the reports of one worker go.
struct Reporting {
  runtime::Loop& loop;
  telemetry::Shard& metrics;
  std::unordered_set<const Report*>& open;  // those of connections that are open now
};

// What one connection leaves behind: its access log line and its metrics; while it is open, its
// entry in the list of connections. Made when the connection is, filled in as the phases
// learn who talks to whom; a connection that ends without having said how is reported as abandoned,
// so no path can forget the log.
class Report {
 public:
  Report(Reporting to, Direction direction, const SocketAddress& client,
         const SocketAddress& destination);
  ~Report();
  Report(const Report&) = delete;
  Report& operator=(const Report&) = delete;

  telemetry::AccessRecord record;
  std::optional<telemetry::Reporter> reporter;  // none: as the direction says
  bool mutual_tls = false;  // only where the bytes of this leg are really encrypted
  RelayBytes bytes;         // counted by relay(); the metrics follow while it runs

  void source(std::shared_ptr<const learn::Workload> workload);
  void destination(std::shared_ptr<const learn::Workload> workload);
  void destination_service(const learn::Service& service);
  // The host= of a Forwarded header, if this workload belongs to such a service: a label, no more.
  void service_from_forwarded(std::string_view forwarded, const learn::State& state);

  // The bytes begin to flow.
  void opened();
  // They have ended. A peer's reset is an ordinary end.
  void closed(const std::optional<Error>& broken);
  // It never came to that.
  void failed(const Error& error, Flag flag);
  // It was refused before it was known who talks to whom: the log says less, as Istio's does.
  void failed_early(const Error& error, Flag flag);

  // Somebody else tells of it.
  void forget() { finished_ = true; }

  // Where the client wanted to go, whatever became of it.
  const SocketAddress& original() const { return original_; }

 private:
  telemetry::ConnectionCounters counters(Flag flag);
  void count_failure(Flag flag);
  void finish(std::optional<Error> error);

  Reporting to_;
  SocketAddress original_;
  std::chrono::steady_clock::time_point since_;
  std::shared_ptr<const learn::Workload> source_;
  std::shared_ptr<const learn::Workload> destination_;
  std::string service_namespace_;
  std::string service_name_;
  bool listed_ = false;
  bool finished_ = false;
};

}  // namespace weft::role
