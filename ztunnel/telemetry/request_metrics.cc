#include "ztunnel/telemetry/request_metrics.h"

#include "ztunnel/telemetry/exposition.h"
#include "ztunnel/telemetry/request_shard.h"
#include "ztunnel/telemetry/side_names.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>
#include <map>

namespace weft::telemetry {
namespace {

constexpr std::string_view kUnknown = "unknown";

std::string text_or_unknown(std::string_view text) {
  return std::string(text.empty() ? kUnknown : text);
}

bool is_label_name(std::string_view name) {
  const auto is_part = [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_';
  };
  return !name.empty() && std::isdigit(static_cast<unsigned char>(name.front())) == 0 &&
         std::ranges::all_of(name, is_part);
}

// What a series' labels are made of, without their names: a lookup is to be cheap.
class Key {
 public:
  explicit Key(std::string& text) : text_(text) { text_.clear(); }
  Key& add(std::string_view part) {
    text_ += part;
    text_ += '\0';
    return *this;
  }
  Key& add(int number) {
    std::array<char, 16> digits{};
    const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), number);
    return add(std::string_view(digits.data(), static_cast<size_t>(end.ptr - digits.data())));
  }
  Key& add(const WorkloadLabels& side) {
    add(side.workload).add(side.workload_namespace).add(side.canonical_service);
    add(side.canonical_revision).add(side.app).add(side.version).add(side.cluster);
    if (side.principal == nullptr) return add("");
    return add(side.principal->trust_domain)
        .add(side.principal->ns)
        .add(side.principal->service_account);
  }

 private:
  std::string& text_;
};

void add_side(LabelViews& labels, const SideNames& names, const WorkloadLabels& side) {
  labels.emplace_back(names.workload, text_or_unknown(side.workload));
  labels.emplace_back(names.canonical_service, text_or_unknown(side.canonical_service));
  labels.emplace_back(names.canonical_revision, side.canonical_revision.empty() && side.known
                                                    ? "latest"
                                                    : text_or_unknown(side.canonical_revision));
  labels.emplace_back(names.workload_namespace, text_or_unknown(side.workload_namespace));
  labels.emplace_back(names.principal, side.principal == nullptr ? std::string(kUnknown)
                                                                 : side.principal->to_string());
  labels.emplace_back(names.app, text_or_unknown(side.app));
  labels.emplace_back(names.version, text_or_unknown(side.version));
  labels.emplace_back(names.cluster, text_or_unknown(side.cluster));
}

uint64_t value_of(const detail::Cell& cell) { return cell.value.load(std::memory_order_relaxed); }

}  // namespace

MetricsPlan::MetricsPlan(const std::vector<Override>& overrides) {
  for (size_t metric = 0; metric < kRequestMetrics; ++metric) {
    bool is_enabled = true;
    std::map<std::string, Tag> tags;
    for (const Override& one : overrides) {
      const bool is_meant =
          one.metrics.empty() ||
          std::ranges::find(one.metrics, static_cast<RequestMetric>(metric)) != one.metrics.end();
      if (!is_meant) continue;
      if (one.disabled) is_enabled = !*one.disabled;
      for (const Tag& tag : one.tags) {
        if (is_label_name(tag.name)) tags.insert_or_assign(tag.name, tag);
      }
    }
    if (!is_enabled) continue;
    std::string id;
    for (const auto& [name, tag] : tags) id += (tag.value ? "+" : "-") + name + ",";
    // Two expressions of one name in different groups are rare: those groups stay apart.
    const auto same = std::ranges::find_if(groups_, [&](const Group& group) {
      return group.id == id && std::ranges::none_of(tags, [](const auto& one) {
               return one.second.value.has_value();
             });
    });
    const bool is_new = same == groups_.end();
    Group& group = is_new ? groups_.emplace_back() : *same;
    group.has[metric] = true;
    group.id = id;
    if (is_new) {
      for (auto& [name, tag] : tags) group.tags.push_back(std::move(tag));
    }
  }
}

LabelViews request_labels(const RequestFacts& facts) {
  LabelViews labels;
  labels.reserve(32);
  labels.emplace_back("reporter", "waypoint");
  add_side(labels, kSource, facts.source);
  labels.emplace_back("destination_service", text_or_unknown(facts.destination_service));
  labels.emplace_back("destination_service_namespace",
                      text_or_unknown(facts.destination_service_namespace));
  labels.emplace_back("destination_service_name", text_or_unknown(facts.destination_service_name));
  add_side(labels, kDestination, facts.destination);
  labels.emplace_back("request_protocol", facts.is_grpc() ? "grpc" : "http");
  labels.emplace_back("response_code", std::to_string(facts.status));
  if (facts.is_grpc()) {
    const auto status = facts.grpc_status();
    labels.emplace_back("grpc_response_status", status ? std::to_string(*status) : "");
  }
  labels.emplace_back("response_flags", std::string(facts.flags));
  labels.emplace_back("connection_security_policy",
                      facts.mutual_tls ? "mutual_tls" : std::string(kUnknown));
  return labels;
}

void detail::RequestHistogram::observe(double value, uint64_t amount) {
  const auto bucket = std::ranges::lower_bound(kRequestBuckets, value, {},
                                               [](const auto& one) { return one.second; });
  buckets[static_cast<size_t>(bucket - kRequestBuckets.begin())].add(1);
  sum.add(amount);
}

RequestShard::RequestShard() : impl_(std::make_unique<Impl>()) {}
RequestShard::~RequestShard() = default;

void RequestShard::count(const MetricsPlan& plan, const RequestFacts& facts) {
  constexpr double kMicrosecondsPerMillisecond = 1000;
  const auto at = [](RequestMetric metric) { return static_cast<size_t>(metric); };
  const bool is_grpc = facts.is_grpc();
  for (const MetricsPlan::Group& group : plan.groups_) {
    detail::RequestSeries& series = series_of(group, facts);
    const auto has = [&](RequestMetric metric) { return group.has[at(metric)]; };
    if (has(RequestMetric::kRequests)) series.counts[at(RequestMetric::kRequests)].add(1);
    if (has(RequestMetric::kDuration)) {
      const auto us = static_cast<uint64_t>(std::max<int64_t>(facts.duration.count(), 0)) / 1000;
      series.histograms[0].observe(static_cast<double>(us) / kMicrosecondsPerMillisecond, us);
    }
    if (has(RequestMetric::kRequestBytes)) {
      series.histograms[1].observe(static_cast<double>(facts.request_bytes), facts.request_bytes);
    }
    if (has(RequestMetric::kResponseBytes)) {
      series.histograms[2].observe(static_cast<double>(facts.response_bytes), facts.response_bytes);
    }
    if (!is_grpc) continue;
    if (has(RequestMetric::kRequestMessages)) {
      series.counts[at(RequestMetric::kRequestMessages)].add(facts.request_messages);
    }
    if (has(RequestMetric::kResponseMessages)) {
      series.counts[at(RequestMetric::kResponseMessages)].add(facts.response_messages);
    }
  }
}

detail::RequestSeries& RequestShard::series_of(const MetricsPlan::Group& group,
                                               const RequestFacts& facts) {
  Impl& impl = *impl_;
  const bool is_grpc = facts.is_grpc();
  Key key(impl.key);
  key.add(group.id).add(facts.source).add(facts.destination).add(facts.destination_service);
  key.add(facts.destination_service_namespace).add(facts.destination_service_name);
  key.add(facts.status).add(is_grpc ? facts.grpc_status().value_or(-1) : -2).add(facts.flags);
  key.add(facts.mutual_tls ? "m" : "").add(facts.source.known ? "s" : "");
  key.add(facts.destination.known ? "d" : "");
  for (const MetricsPlan::Tag& tag : group.tags) {
    if (tag.value) key.add(text_of(tag.value->value(facts)));
  }
  auto found = impl.series.find(impl.key);
  if (found != impl.series.end()) return *found->second;
  std::string text;
  if (impl.series.size() >= kSeriesMax) {
    impl.refused.add(1);
    impl.key.clear();
    found = impl.series.find(impl.key);
    if (found != impl.series.end()) return *found->second;
    static const http::RequestHead kNone;
    RequestFacts unknown;
    unknown.request = &kNone;
    for (const auto& [name, value] : request_labels(unknown)) append_label(text, name, value);
  } else {
    LabelViews labels = request_labels(facts);
    for (const MetricsPlan::Tag& tag : group.tags) {
      std::erase_if(labels, [&](const auto& label) { return label.first == tag.name; });
      if (tag.value) labels.emplace_back(tag.name, text_of(tag.value->value(facts)));
    }
    for (const auto& [name, value] : labels) append_label(text, name, value);
  }
  auto series = std::make_unique<detail::RequestSeries>();
  series->labels = std::move(text);
  const std::scoped_lock lock(impl.mutex);
  return *impl.series.emplace(impl.key, std::move(series)).first->second;
}

namespace {

struct Sums {
  std::array<uint64_t, kRequestMetrics> counts{};
  std::array<std::array<uint64_t, kRequestBuckets.size() + 1>, 3> buckets{};
  std::array<uint64_t, 3> sums{};

  void add(const detail::RequestSeries& series) {
    for (size_t i = 0; i < counts.size(); ++i) counts[i] += value_of(series.counts[i]);
    for (size_t i = 0; i < buckets.size(); ++i) {
      for (size_t bucket = 0; bucket < buckets[i].size(); ++bucket) {
        buckets[i][bucket] += value_of(series.histograms[i].buckets[bucket]);
      }
      sums[i] += value_of(series.histograms[i].sum);
    }
  }
};
using ByLabels = std::map<std::string_view, Sums>;

void append_counter(std::string& out, const ByLabels& all, RequestMetric metric,
                    std::string_view name, std::string_view help) {
  append_head(out, name, help, "counter");
  for (const auto& [labels, sums] : all) {
    const uint64_t count = sums.counts[static_cast<size_t>(metric)];
    if (count > 0) append_sample(out, name, labels, std::to_string(count));
  }
}

void append_histogram(std::string& out, const ByLabels& all, size_t which, std::string_view name,
                      std::string_view help) {
  append_head(out, name, help, "histogram");
  const std::string bucket_name = std::string(name) + "_bucket";
  std::string with_bound;
  for (const auto& [labels, sums] : all) {
    uint64_t count = 0;
    for (const uint64_t one : sums.buckets[which]) count += one;
    if (count == 0) continue;
    uint64_t below = 0;
    for (size_t i = 0; i <= kRequestBuckets.size(); ++i) {
      below += sums.buckets[which][i];
      with_bound = labels;
      append_label(with_bound, "le",
                   i < kRequestBuckets.size() ? kRequestBuckets[i].first : "+Inf");
      append_sample(out, bucket_name, with_bound, std::to_string(below));
    }
    const bool is_time = which == 0;
    append_sample(out, std::string(name) + "_sum", labels,
                  is_time ? std::to_string(static_cast<double>(sums.sums[which]) / 1000)
                          : std::to_string(sums.sums[which]));
    append_sample(out, std::string(name) + "_count", labels, std::to_string(count));
  }
}

}  // namespace

void append_requests(std::string& out, const std::vector<const detail::RequestSeries*>& series) {
  ByLabels all;
  for (const auto* one : series) all[one->labels].add(*one);
  append_counter(out, all, RequestMetric::kRequests, "istio_requests_total",
                 "Requests that are over.");
  append_histogram(out, all, 0, "istio_request_duration_milliseconds",
                   "From a request's head to the end of its response.");
  append_histogram(out, all, 1, "istio_request_bytes", "Bytes of requests' bodies.");
  append_histogram(out, all, 2, "istio_response_bytes", "Bytes of responses' bodies.");
  append_counter(out, all, RequestMetric::kRequestMessages, "istio_request_messages_total",
                 "Messages of gRPC from clients.");
  append_counter(out, all, RequestMetric::kResponseMessages, "istio_response_messages_total",
                 "Messages of gRPC to clients.");
}

}  // namespace weft::telemetry
