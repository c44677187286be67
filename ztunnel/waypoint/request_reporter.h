#pragma once

#include "ztunnel/learn/state.h"
#include "ztunnel/telemetry/request_metrics.h"
#include "ztunnel/telemetry/request_plan.h"
#include "ztunnel/waypoint/config.h"
#include "ztunnel/waypoint/report.h"
#include "ztunnel/waypoint/span_exporter.h"

#include <functional>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

namespace weft::waypoint {

// One worker's metrics, access logs and spans of requests, as the configuration that is there when
// a request comes wants them. Belongs to the worker's thread.
class RequestReporter final : public Reporter {
 public:
  // What the worker knows now; either may be null.
  struct Known {
    const std::shared_ptr<const Config>& config;
    std::function<std::shared_ptr<const learn::State>()> state;
  };
  // `seed`: of ids and of the dice that decide what is sampled.
  RequestReporter(runtime::Loop& loop, Known known, telemetry::RequestShard& metrics,
                  Upstreams& upstreams, uint64_t seed = std::random_device{}());

  void on_head(Report& report, http::RequestHead& head) override;
  void on_answer(Report& report, const http::ResponseHead& head) override;
  void on_trailers(Report& report, const http::FieldList& trailers) override;
  void on_request(const Report& report) override;
  // The last lines are written and the last spans sent. Nothing is to be reported after it.
  runtime::Task<void> close();
  const SpanExporter& exporter() const { return exporter_; }

 private:
  struct Texts;
  std::shared_ptr<const telemetry::RequestPlan> plan_for(const std::string& service) const;
  void begin_trace(Report& report, const weft::telemetry::Tracing& config, http::RequestHead& head);
  void describe(const Report& report, Texts& texts, telemetry::RequestFacts& facts) const;
  void log(const telemetry::RequestPlan& plan, const telemetry::RequestFacts& facts);
  void trace(const Report& report, const telemetry::RequestFacts& facts);
  void flush();

  Known known_;
  telemetry::RequestShard& metrics_;
  SpanExporter exporter_;
  std::mt19937_64 random_;
  // Lines of this turn of the loop leave together.
  struct Log {
    std::unique_ptr<telemetry::LogWriter> writer;
    std::string lines;
  };
  runtime::Loop& loop_;
  std::vector<Log> logs_;
  runtime::TurnEnd turn_end_;
};

}  // namespace weft::waypoint
