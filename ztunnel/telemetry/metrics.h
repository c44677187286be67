#pragma once

#include "ztunnel/base/spiffe_id.h"

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

// Metrics, with Istio ztunnel's names and labels (reference: ztunnel 1.18), so that dashboards made
// for it work. A worker counts in a shard of its own and nobody else writes there: no lock, no
// contended cache line on the data path. A scrape adds the shards up.
//
//   Shard& shard = registry.add_shard();                        // once for each worker
//   ConnectionCounters counters = shard.connection(labels);     // once for each connection
//   counters.opened();  counters.sent(4096);  ...  counters.closed();
//
// A connection that ends with a flag resolves its labels again with that flag and calls closed()
// and failed() on those, as ztunnel does.

namespace weft::telemetry {

enum class Reporter : uint8_t { kSource, kDestination, kWaypoint };

// What became of a connection: the label response_flags.
enum class Flag : uint8_t {
  kNone,                // "-"
  kDenied,              // "DENY": by policy
  kConnect,             // "CONNECT": no connection to the destination
  kTlsFailure,          // "TLS_FAILURE"
  kH2HandshakeFailure,  // "H2_HANDSHAKE_FAILURE"
  kNetworkPolicy,       // "NETWORK_POLICY"
  kIdentityError,       // "IDENTITY_ERROR": no certificate for the workload
  kCertRevoked,         // "CERT_REVOKED"
};
std::string_view to_string(Flag flag);

// Empty or null: reported as "unknown". Views are read during Shard::connection() only.
struct WorkloadLabels {
  bool known = false;  // the locality labels are there once either side is
  std::string_view workload;
  std::string_view workload_namespace;
  std::string_view canonical_service;
  std::string_view canonical_revision;
  std::string_view app;
  std::string_view version;
  std::string_view cluster;
  std::string_view region;
  std::string_view zone;
  const SpiffeId* principal = nullptr;  // proven, or of the workload that is meant
};

struct ConnectionLabels {
  Reporter reporter = Reporter::kSource;
  WorkloadLabels source;
  WorkloadLabels destination;
  std::string_view destination_service;  // the host name
  std::string_view destination_service_namespace;
  std::string_view destination_service_name;
  Flag flag = Flag::kNone;
  bool mutual_tls = false;  // only where the bytes really went over mutual TLS
};

namespace detail {
// One thread writes, others read: a relaxed load and store is a plain add.
struct Cell {
  std::atomic<uint64_t> value{0};
  void add(uint64_t amount) {
    value.store(value.load(std::memory_order_relaxed) + amount, std::memory_order_relaxed);
  }
};

struct ConnectionSeries {
  Cell opened;
  Cell closed;
  Cell failed;
  Cell received_bytes;
  Cell sent_bytes;
};
}  // namespace detail

// A connection's cells. A plain pointer, valid as long as the registry; for the shard's own worker.
class ConnectionCounters {
 public:
  void opened() { series_->opened.add(1); }
  void closed() { series_->closed.add(1); }
  void failed() { series_->failed.add(1); }
  // Istio's convention, whichever side reports: received is the request (from the client), sent is
  // the response (to the client). An outbound access log line has it the other way round.
  void received(uint64_t bytes) { series_->received_bytes.add(bytes); }
  void sent(uint64_t bytes) { series_->sent_bytes.add(bytes); }

 private:
  friend class Shard;
  explicit ConnectionCounters(detail::ConnectionSeries* series) : series_(series) {}
  detail::ConnectionSeries* series_;
};

// One worker's part. Belongs to that worker's thread.
class Shard {
 public:
  // Series a shard keeps: about 1.2 KiB each, so 12 MiB at most. Past it, connections are counted
  // in one series for each reporter whose labels are all "unknown", and
  // weft_metrics_series_refused_total tells how many.
  static constexpr size_t kSeriesMax = 10'000;

  ~Shard();
  // Finds or makes the series of a label set: about a microsecond, no allocation where it exists.
  ConnectionCounters connection(const ConnectionLabels& labels);

 private:
  friend class Registry;
  struct Impl;
  Shard();
  std::unique_ptr<Impl> impl_;
};

// Counters and gauges for what happens seldom (learning, certificates): any thread may write.
class Counter {
 public:
  void add(uint64_t amount = 1) { value_.fetch_add(amount, std::memory_order_relaxed); }
  uint64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<uint64_t> value_{0};
};

class Gauge {
 public:
  void set(int64_t value) { value_.store(value, std::memory_order_relaxed); }
  void add(int64_t amount) { value_.fetch_add(amount, std::memory_order_relaxed); }
  int64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<int64_t> value_{0};
};

// How long things took; any thread may write.
class Histogram {
 public:
  // `bounds`: upper bounds of the buckets in seconds, as text, ascending; "+Inf" is added.
  explicit Histogram(std::vector<std::string> bounds);
  void observe(std::chrono::nanoseconds duration);

 private:
  friend class Registry;
  struct Bucket {
    std::string bound;
    std::chrono::nanoseconds upper;
    std::atomic<uint64_t> count{0};  // of this bucket alone
  };
  std::deque<Bucket> buckets_;
  std::atomic<uint64_t> above_{0};
  std::atomic<uint64_t> sum_ns_{0};
};

using Labels = std::vector<std::pair<std::string, std::string>>;
class RequestShard;  // request_metrics.h

// All metrics of a process. Every call is for any thread. Shards of both kinds, counters, gauges
// and histograms live as long as the registry.
class Registry {
 public:
  static constexpr std::string_view kContentType = "text/plain; version=0.0.4; charset=utf-8";

  Registry();
  ~Registry();
  Shard& add_shard();
  RequestShard& add_request_shard();
  // Finds or makes. `name` in full, a counter's with "_total": "istio_xds_message_total".
  Counter& counter(std::string_view name, std::string_view help, const Labels& labels = {});
  Gauge& gauge(std::string_view name, std::string_view help, const Labels& labels = {});
  Histogram& histogram(std::string_view name, std::string_view help,
                       const std::vector<std::string>& bounds);
  // A gauge that is read when somebody scrapes, on the scraping thread.
  void gauge_from(std::string_view name, std::string_view help, std::function<int64_t()> read);
  // istio_build, process_open_fds, process_max_fds, process_resident_memory_bytes.
  void add_process_metrics(std::string_view component, std::string_view tag);
  // The Prometheus text format.
  std::string scrape() const;

 private:
  struct Impl;
  static void append_histogram(std::string& out, const std::string& name,
                               const Histogram& histogram);
  std::unique_ptr<Impl> impl_;
};

}  // namespace weft::telemetry
