#include "ztunnel/telemetry/request_plan.h"

namespace weft::telemetry {
namespace {

using weft::telemetry::AccessLog;

Result<LogFormat> format_of(const AccessLog& config) {
  if (config.json().empty()) {
    return LogFormat::of_text(config.text().empty() ? LogFormat::kDefaultText
                                                    : std::string_view(config.text()));
  }
  LogFormat::Fields fields;
  for (const auto& field : config.json()) fields.emplace_back(field.name(), field.format());
  return LogFormat::of_fields(fields);
}

Fail about(const std::string& what, const Error& error) {
  return fail(error.code, what + ": " + error.message);
}

Result<RequestPlan::Log> log_of(const AccessLog& config, LogFiles& files,
                                std::vector<Error>& problems) {
  const std::string what = "access log " + config.provider();
  RequestPlan::Log log;
  auto format = format_of(config);
  if (!format) return about(what, format.error());
  log.format = std::move(*format);
  auto file = files.open(config.path());
  if (!file) return about(what, file.error());
  log.file = std::move(*file);
  if (!config.filter().empty()) {
    auto filter = Expression::parse(config.filter());
    if (filter) {
      log.filter = std::move(*filter);
    } else {
      problems.push_back(about(what + ": filter, which filters nothing", filter.error()).error());
    }
  }
  return log;
}

MetricsPlan metrics_of(const weft::telemetry::Metrics& config, std::vector<Error>& problems) {
  std::vector<MetricsPlan::Override> overrides;
  for (const auto& one : config.overrides()) {
    MetricsPlan::Override& made = overrides.emplace_back();
    for (const int metric : one.metrics()) {
      if (metric < 0 || static_cast<size_t>(metric) >= kRequestMetrics) continue;
      made.metrics.push_back(static_cast<RequestMetric>(metric));
    }
    if (one.has_disabled()) made.disabled = one.disabled();
    for (const auto& tag : one.tags()) {
      if (tag.value().empty()) {
        made.tags.push_back({tag.name(), std::nullopt});
        continue;
      }
      auto value = Expression::parse(tag.value());
      if (value) {
        made.tags.push_back({tag.name(), std::move(*value)});
      } else {
        problems.push_back(about("metrics: tag " + tag.name(), value.error()).error());
      }
    }
  }
  return MetricsPlan(overrides);
}

}  // namespace

const std::shared_ptr<const RequestPlan>& RequestPlan::by_default() {
  static const auto kPlan = [] {
    auto plan = std::make_shared<RequestPlan>();
    plan->metrics.emplace();
    return std::shared_ptr<const RequestPlan>(std::move(plan));
  }();
  return kPlan;
}

std::shared_ptr<const RequestPlan> RequestPlan::make(const weft::telemetry::Telemetry& config,
                                                     LogFiles& files,
                                                     std::vector<Error>& problems) {
  auto plan = std::make_shared<RequestPlan>();
  for (const AccessLog& one : config.access_logs()) {
    auto log = log_of(one, files, problems);
    if (log) {
      plan->logs.push_back(std::move(*log));
    } else {
      problems.push_back(log.error());
    }
  }
  if (config.has_metrics()) plan->metrics = metrics_of(config.metrics(), problems);
  if (config.has_tracing()) plan->tracing = config.tracing();
  for (const auto& tag : config.tracing().tags()) {
    auto format = LogFormat::of_text(tag.format());
    if (format) {
      plan->tags.push_back({tag.name(), std::move(*format), tag.default_value()});
    } else {
      problems.push_back(about("tracing: tag " + tag.name(), format.error()).error());
    }
  }
  const bool has_overrides = config.metrics().overrides_size() > 0;
  plan->needs_response_fields = !plan->logs.empty() || !plan->tags.empty() || has_overrides;
  return plan;
}

}  // namespace weft::telemetry
