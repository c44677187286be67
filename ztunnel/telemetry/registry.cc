#include "ztunnel/base/check.h"
#include "ztunnel/telemetry/exposition.h"
#include "ztunnel/telemetry/metrics.h"
#include "ztunnel/telemetry/request_shard.h"
#include "ztunnel/telemetry/shard.h"

#include <array>
#include <map>
#include <mutex>
#include <optional>

namespace weft::telemetry {
namespace {

// Series of one counter or gauge. Labels here come from short lists of ours; if a value ever came
// from outside, what is past the bound is counted under values that say "other".
constexpr size_t kFamilySeriesMax = 1000;

template <class Metric>
struct Family {
  std::string help;
  std::map<std::string, std::unique_ptr<Metric>> series;  // by rendered labels

  Metric& find_or_make(const Labels& labels) {
    std::string key = render_labels(labels);
    if (!series.contains(key) && series.size() >= kFamilySeriesMax) {
      Labels other = labels;
      for (auto& [name, value] : other) value = "other";
      key = render_labels(other);
    }
    std::unique_ptr<Metric>& metric = series[key];
    if (metric == nullptr) metric = std::make_unique<Metric>();
    return *metric;
  }
};

struct Timed {
  std::string help;
  std::unique_ptr<Histogram> histogram;
};

struct Derived {
  std::string help;
  std::function<int64_t()> read;
};

struct Totals {
  uint64_t opened = 0;
  uint64_t closed = 0;
  uint64_t failed = 0;
  uint64_t received_bytes = 0;
  uint64_t sent_bytes = 0;

  void add(const detail::ConnectionSeries& series) {
    const auto value = [](const detail::Cell& cell) {
      return cell.value.load(std::memory_order_relaxed);
    };
    opened += value(series.opened);
    closed += value(series.closed);
    failed += value(series.failed);
    received_bytes += value(series.received_bytes);
    sent_bytes += value(series.sent_bytes);
  }
};

struct ConnectionFamily {
  std::string_view name;
  std::string_view help;
  uint64_t Totals::* value;
};
constexpr std::array<ConnectionFamily, 5> kConnectionFamilies{{
    {"istio_tcp_connections_opened_total", "TCP connections opened.", &Totals::opened},
    {"istio_tcp_connections_closed_total", "TCP connections closed, for whatever reason.",
     &Totals::closed},
    {"istio_tcp_connections_failed_total", "TCP connections that failed; response_flags says how.",
     &Totals::failed},
    {"istio_tcp_received_bytes_total", "Bytes of requests: from the client to the server.",
     &Totals::received_bytes},
    {"istio_tcp_sent_bytes_total", "Bytes of responses: from the server to the client.",
     &Totals::sent_bytes},
}};

}  // namespace

struct Registry::Impl {
  mutable std::mutex mutex;
  std::vector<std::unique_ptr<Shard>> shards;
  std::vector<std::unique_ptr<RequestShard>> request_shards;
  std::map<std::string, Family<Counter>, std::less<>> counters;
  std::map<std::string, Family<Gauge>, std::less<>> gauges;
  std::map<std::string, Timed, std::less<>> histograms;
  std::map<std::string, Derived, std::less<>> derived;

  // A name stands for one kind of metric.
  void check_name(std::string_view name, const void* family_it_may_have) const {
    const auto taken = [&](const auto& families) {
      const auto found = families.find(name);
      return found != families.end() && &found->second != family_it_may_have;
    };
    CHECK(!taken(counters) && !taken(gauges) && !taken(histograms) && !taken(derived));
  }

  template <class Metric>
  Metric& find_or_make(std::map<std::string, Family<Metric>, std::less<>>& families,
                       std::string_view name, std::string_view help, const Labels& labels) {
    auto found = families.find(name);
    if (found == families.end()) {
      found = families.emplace(std::string(name), Family<Metric>{std::string(help), {}}).first;
    }
    check_name(name, &found->second);
    return found->second.find_or_make(labels);
  }

  void append_connections(std::string& out) const;
  void append_all_requests(std::string& out) const;
  // A series is never taken out, so its shard's lock is needed to find it alone.
  void append_refused(std::string& out) const;
  template <class Metric>
  static void append_families(std::string& out,
                              const std::map<std::string, Family<Metric>, std::less<>>& families,
                              std::string_view type);
};

void Registry::Impl::append_connections(std::string& out) const {
  std::map<std::string_view, Totals> totals;
  for (const std::unique_ptr<Shard>& shard : shards) {
    const std::scoped_lock lock(shard->impl_->mutex);
    for (const auto& [labels, series] : shard->impl_->series) totals[labels].add(*series);
  }
  for (const ConnectionFamily& family : kConnectionFamilies) {
    append_head(out, family.name, family.help, "counter");
    for (const auto& [labels, total] : totals) {
      const uint64_t value = total.*family.value;
      if (value > 0) append_sample(out, family.name, labels, std::to_string(value));
    }
  }
}

void Registry::Impl::append_all_requests(std::string& out) const {
  if (request_shards.empty()) return;
  std::vector<const detail::RequestSeries*> all;
  for (const std::unique_ptr<RequestShard>& shard : request_shards) {
    const std::scoped_lock lock(shard->impl_->mutex);
    for (const auto& [key, series] : shard->impl_->series) all.push_back(series.get());
  }
  append_requests(out, all);
}

void Registry::Impl::append_refused(std::string& out) const {
  uint64_t refused = 0;
  for (const auto& shard : shards) {
    refused += shard->impl_->refused.value.load(std::memory_order_relaxed);
  }
  for (const auto& shard : request_shards) {
    refused += shard->impl_->refused.value.load(std::memory_order_relaxed);
  }
  constexpr std::string_view kRefused = "weft_metrics_series_refused_total";
  append_head(out, kRefused,
              "Connections and requests counted as unknown because a worker has too many series.",
              "counter");
  append_sample(out, kRefused, "", std::to_string(refused));
}

template <class Metric>
void Registry::Impl::append_families(
    std::string& out, const std::map<std::string, Family<Metric>, std::less<>>& families,
    std::string_view type) {
  for (const auto& [name, family] : families) {
    append_head(out, name, family.help, type);
    for (const auto& [labels, metric] : family.series) {
      append_sample(out, name, labels, std::to_string(metric->value()));
    }
  }
}

Histogram::Histogram(std::vector<std::string> bounds) {
  for (std::string& bound : bounds) {
    Bucket& bucket = buckets_.emplace_back();
    const std::chrono::duration<double> seconds(std::stod(bound));
    bucket.upper = std::chrono::duration_cast<std::chrono::nanoseconds>(seconds);
    bucket.bound = std::move(bound);
  }
}

void Histogram::observe(std::chrono::nanoseconds duration) {
  sum_ns_.fetch_add(static_cast<uint64_t>(duration.count()), std::memory_order_relaxed);
  for (Bucket& bucket : buckets_) {
    if (duration > bucket.upper) continue;
    bucket.count.fetch_add(1, std::memory_order_relaxed);
    return;
  }
  above_.fetch_add(1, std::memory_order_relaxed);
}

void Registry::append_histogram(std::string& out, const std::string& name,
                                const Histogram& histogram) {
  uint64_t count = 0;
  for (const Histogram::Bucket& bucket : histogram.buckets_) {
    count += bucket.count.load(std::memory_order_relaxed);
    append_sample(out, name + "_bucket", "le=\"" + bucket.bound + "\"", std::to_string(count));
  }
  count += histogram.above_.load(std::memory_order_relaxed);
  append_sample(out, name + "_bucket", "le=\"+Inf\"", std::to_string(count));
  const auto sum_ns = histogram.sum_ns_.load(std::memory_order_relaxed);
  append_sample(out, name + "_sum", "", std::to_string(static_cast<double>(sum_ns) / 1e9));
  append_sample(out, name + "_count", "", std::to_string(count));
}

Registry::Registry() : impl_(std::make_unique<Impl>()) {}
Registry::~Registry() = default;

Shard& Registry::add_shard() {
  const std::scoped_lock lock(impl_->mutex);
  impl_->shards.push_back(std::unique_ptr<Shard>(new Shard()));
  return *impl_->shards.back();
}

RequestShard& Registry::add_request_shard() {
  const std::scoped_lock lock(impl_->mutex);
  impl_->request_shards.push_back(std::unique_ptr<RequestShard>(new RequestShard()));
  return *impl_->request_shards.back();
}

Counter& Registry::counter(std::string_view name, std::string_view help, const Labels& labels) {
  const std::scoped_lock lock(impl_->mutex);
  return impl_->find_or_make(impl_->counters, name, help, labels);
}

Gauge& Registry::gauge(std::string_view name, std::string_view help, const Labels& labels) {
  const std::scoped_lock lock(impl_->mutex);
  return impl_->find_or_make(impl_->gauges, name, help, labels);
}

Histogram& Registry::histogram(std::string_view name, std::string_view help,
                               const std::vector<std::string>& bounds) {
  const std::scoped_lock lock(impl_->mutex);
  auto found = impl_->histograms.find(name);
  if (found == impl_->histograms.end()) {
    impl_->check_name(name, nullptr);
    Timed timed{std::string(help), std::make_unique<Histogram>(bounds)};
    found = impl_->histograms.emplace(std::string(name), std::move(timed)).first;
  }
  return *found->second.histogram;
}

void Registry::gauge_from(std::string_view name, std::string_view help,
                          std::function<int64_t()> read) {
  const std::scoped_lock lock(impl_->mutex);
  impl_->check_name(name, nullptr);
  impl_->derived.emplace(std::string(name), Derived{std::string(help), std::move(read)});
}

std::string Registry::scrape() const {
  std::string out;
  std::map<std::string, Derived, std::less<>> derived;
  {
    const std::scoped_lock lock(impl_->mutex);
    impl_->append_connections(out);
    impl_->append_all_requests(out);
    impl_->append_refused(out);
    Impl::append_families(out, impl_->counters, "counter");
    Impl::append_families(out, impl_->gauges, "gauge");
    for (const auto& [name, timed] : impl_->histograms) {
      append_head(out, name, timed.help, "histogram");
      append_histogram(out, name, *timed.histogram);
    }
    derived = impl_->derived;
  }
  // Outside the lock: what is read may itself count something.
  for (const auto& [name, gauge] : derived) {
    append_head(out, name, gauge.help, "gauge");
    append_sample(out, name, "", std::to_string(gauge.read()));
  }
  return out;
}

}  // namespace weft::telemetry
