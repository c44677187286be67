#pragma once

#include "ztunnel/runtime/loop.h"
#include "ztunnel/runtime/sync.h"
#include "ztunnel/telemetry/request_plan.h"
#include "ztunnel/telemetry/span.h"
#include "ztunnel/waypoint/upstreams.h"

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <vector>

namespace weft::waypoint {

// Sends one worker's spans to where they are collected, many at a time, the way requests go: by the
// mesh's addresses, with HBONE where the collector is in the mesh. A collector that is away costs
// the spans of that time and nothing else. Belongs to the worker's thread.
class SpanExporter {
 public:
  static constexpr std::chrono::seconds kEvery{1};
  static constexpr size_t kBatchMax = 200;      // about 1 KB each: one request of 200 KB
  static constexpr size_t kWaitingMax = 4'000;  // spans beyond it are dropped and counted
  static constexpr std::chrono::seconds kTimeout{10};

  SpanExporter(runtime::Loop& loop, Upstreams& upstreams);
  ~SpanExporter();  // after close()
  SpanExporter(const SpanExporter&) = delete;
  SpanExporter& operator=(const SpanExporter&) = delete;

  // `plan` has tracing, which says where to.
  void add(const std::shared_ptr<const telemetry::RequestPlan>& plan, telemetry::Span span);
  // Sends what waits; returns when it has gone or could not.
  runtime::Task<void> close();

  uint64_t sent() const { return sent_; }
  uint64_t dropped() const { return dropped_; }

 private:
  struct Batch {
    std::shared_ptr<const telemetry::RequestPlan> plan;
    std::vector<telemetry::Span> spans;
  };
  void flush();
  void send_later(Batch batch);
  runtime::Task<void> send(Batch batch);
  runtime::Task<Result<void>> post(const weft::telemetry::Tracing& config, std::string body);
  runtime::Task<Result<void>> exchange(http::ClientExchange& exchange,
                                       const weft::telemetry::Tracing& config, std::string body);

  runtime::Loop& loop_;
  Upstreams& upstreams_;
  std::map<const telemetry::RequestPlan*, Batch> waiting_;
  size_t count_ = 0;  // spans in `waiting_` and under way
  runtime::TimerId timer_ = 0;
  runtime::TaskScope tasks_;
  uint64_t sent_ = 0;
  uint64_t dropped_ = 0;
  std::chrono::steady_clock::time_point complained_{};
};

}  // namespace weft::waypoint
