#pragma once

#include "ztunnel/telemetry/expression.h"
#include "ztunnel/telemetry/metrics.h"
#include "ztunnel/telemetry/request.h"

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

// Istio's standard metrics of requests, as its waypoints report them (reporter="waypoint").

namespace weft::telemetry {

enum class RequestMetric : uint8_t {
  kRequests,          // istio_requests_total
  kDuration,          // istio_request_duration_milliseconds
  kRequestBytes,      // istio_request_bytes
  kResponseBytes,     // istio_response_bytes
  kRequestMessages,   // istio_request_messages_total, of gRPC
  kResponseMessages,  // istio_response_messages_total
};
constexpr size_t kRequestMetrics = 6;

// Which metrics there are, and with which tags: Telemetry's metrics overrides. Immutable.
class MetricsPlan {
 public:
  struct Tag {
    std::string name;
    std::optional<Expression> value;  // none: the tag is left out
  };
  struct Override {
    std::vector<RequestMetric> metrics;  // none: all
    std::optional<bool> disabled;
    std::vector<Tag> tags;
  };
  MetricsPlan() : MetricsPlan(std::vector<Override>()) {}  // all, as they are
  // In order: later ones win. A tag's name that Prometheus does not take is left out.
  explicit MetricsPlan(const std::vector<Override>& overrides);

 private:
  friend class RequestShard;
  // Metrics whose tags are the same.
  struct Group {
    std::array<bool, kRequestMetrics> has{};
    std::vector<Tag> tags;  // by name
    std::string id;         // tells groups with different tags apart
  };
  std::vector<Group> groups_;
};

// Upper bounds of histograms, of milliseconds and of bytes alike, as text and as number.
constexpr std::array<std::pair<std::string_view, double>, 19> kRequestBuckets{
    {{"0.5", 0.5},
     {"1", 1},
     {"5", 5},
     {"10", 10},
     {"25", 25},
     {"50", 50},
     {"100", 100},
     {"250", 250},
     {"500", 500},
     {"1000", 1000},
     {"2500", 2500},
     {"5000", 5000},
     {"10000", 10000},
     {"30000", 30000},
     {"60000", 60000},
     {"300000", 300000},
     {"600000", 600000},
     {"1800000", 1800000},
     {"3600000", 3600000}}};

namespace detail {
struct RequestHistogram {
  std::array<Cell, kRequestBuckets.size() + 1> buckets;  // each alone; the last is above all
  Cell sum;                                              // of durations in microseconds
  void observe(double value, uint64_t amount);
};
struct RequestSeries {
  std::string labels;  // as they are printed
  std::array<Cell, kRequestMetrics> counts;
  std::array<RequestHistogram, 3> histograms;  // duration, request bytes, response bytes
};
}  // namespace detail

// One worker's part; belongs to its thread. Made by Registry::add_request_shard().
class RequestShard {
 public:
  // About 3 KiB each, so 15 MiB at most. Past it requests are counted in one series whose labels
  // are all "unknown", and weft_metrics_series_refused_total tells how many.
  static constexpr size_t kSeriesMax = 5'000;

  ~RequestShard();
  // Counts one request: no lock and no allocation where its series are there already.
  void count(const MetricsPlan& plan, const RequestFacts& facts);

 private:
  friend class Registry;
  struct Impl;
  RequestShard();
  detail::RequestSeries& series_of(const MetricsPlan::Group& group, const RequestFacts& facts);
  std::unique_ptr<Impl> impl_;
};

// All labels of a request, as Istio orders them.
using LabelViews = std::vector<std::pair<std::string_view, std::string>>;
LabelViews request_labels(const RequestFacts& facts);

}  // namespace weft::telemetry
