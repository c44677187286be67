#include "ztunnel/waypoint/request_reporter.h"

#include <algorithm>

namespace weft::waypoint {

using telemetry::RequestFacts;
using telemetry::RequestPlan;
using telemetry::TraceContext;
using Tracing = weft::telemetry::Tracing;

namespace {

constexpr size_t kUrlBytes = 256;  // of the tag http.url, as Envoy's default

// Istio's name of a waypoint's cluster.
std::string cluster_of(const weft::route::Destination& destination) {
  std::string name = "inbound-vip|" + std::to_string(destination.port()) + "|http";
  if (!destination.subset().empty()) name += "/" + destination.subset();
  return name + "|" + destination.hostname();
}

telemetry::WorkloadLabels labels_of(const learn::Workload* workload) {
  telemetry::WorkloadLabels labels;
  if (workload == nullptr) return labels;
  labels.known = true;
  labels.workload = workload->workload_name;
  labels.workload_namespace = workload->ns;
  labels.canonical_service = labels.app = workload->canonical_name;
  labels.canonical_revision = labels.version = workload->canonical_revision;
  labels.cluster = workload->cluster_id;
  return labels;
}

// %RESPONSE_CODE_DETAILS%, where the proxy said no more than a flag.
std::string_view details_of(const Report& report) {
  if (!report.details.empty()) return report.details;
  switch (report.flag) {
    case Flag::kNoRoute:
      return "route_not_found";
    case Flag::kNoHealthyUpstream:
      return "no_healthy_upstream";
    case Flag::kNoCluster:
      return "cluster_not_found";
    case Flag::kUpstreamFailure:
      return "upstream_reset_before_response_started{remote_connection_failure}";
    case Flag::kUpstreamOverflow:
      return "upstream_reset_before_response_started{overflow}";
    case Flag::kUpstreamReset:
      return "upstream_reset_before_response_started{remote_reset}";
    case Flag::kUpstreamConnection:
      return "upstream_reset_before_response_started{connection_termination}";
    case Flag::kUpstreamProtocol:
      return "upstream_reset_before_response_started{protocol_error}";
    case Flag::kUpstreamTimeout:
      return "response_timeout";
    case Flag::kDownstreamGone:
      return "downstream_remote_disconnect";
    case Flag::kDownstreamProtocol:
      return "http1.codec_error";
    case Flag::kFaultInjected:
      return "fault_filter_abort";
    case Flag::kRefused:
      return "rbac_access_denied";
    default:
      break;
  }
  if (report.upstream) return "via_upstream";
  return report.status == 0 ? "" : "direct_response";
}

bool uses_b3(const Tracing& config) { return config.protocol() == Tracing::ZIPKIN; }

}  // namespace

// What facts are views of.
struct RequestReporter::Texts {
  std::shared_ptr<const learn::Workload> source;
  std::shared_ptr<const learn::Workload> destination;
  std::shared_ptr<const learn::Service> service;
  std::string cluster;
  http::RequestHead none;
};

RequestReporter::RequestReporter(runtime::Loop& loop, Known known, telemetry::RequestShard& metrics,
                                 Upstreams& upstreams, uint64_t seed)
    : known_(std::move(known)),
      metrics_(metrics),
      exporter_(loop, upstreams),
      random_(seed),
      loop_(loop),
      turn_end_(loop, [this] { flush(); }) {}

std::shared_ptr<const RequestPlan> RequestReporter::plan_for(const std::string& service) const {
  if (known_.config == nullptr) return RequestPlan::by_default();
  const auto& plans = known_.config->telemetry;
  auto found = plans.find(service);
  if (found == plans.end()) found = plans.find("*");
  return found == plans.end() ? RequestPlan::by_default() : found->second;
}

void RequestReporter::on_head(Report& report, http::RequestHead& head) {
  report.plan = plan_for(report.arrival.service);
  if (report.plan->tracing) begin_trace(report, *report.plan->tracing, head);
}

void RequestReporter::begin_trace(Report& report, const Tracing& config, http::RequestHead& head) {
  constexpr double kAll = 100;
  const auto came = telemetry::read_context(head.fields);
  TraceContext context = came.value_or(TraceContext());
  context.parent = context.span;
  // No id is 0, which would be none.
  const auto draw = [this] { return random_() | 1U; };
  context.span = draw();
  if (context.trace_high == 0 && context.trace_low == 0) {
    context.trace_high = draw();
    context.trace_low = draw();
    context.parent = 0;
  }
  if (!context.sampled) {
    context.sampled =
        std::uniform_real_distribution<>(0, kAll)(random_) < config.sampling_percent();
  }
  report.trace = context;
  if (!config.propagate()) return;
  if (uses_b3(config)) telemetry::write_b3(head.fields, context);
  if (!uses_b3(config) || config.w3c_too()) telemetry::write_w3c(head.fields, context);
}

void RequestReporter::on_answer(Report& report, const http::ResponseHead& head) {
  const auto copy = [&](std::string_view name) {
    if (const auto* field = head.fields.find(name)) report.response.fields.add(name, field->value);
  };
  report.response.status = head.status;
  if (report.plan == nullptr || !report.plan->needs_response_fields) return copy("grpc-status");
  for (const auto& field : head.fields.all()) report.response.fields.add(field.name, field.value);
}

void RequestReporter::on_trailers(Report& report, const http::FieldList& trailers) {
  for (const auto& field : trailers.all()) {
    const bool is_wanted = field.name == "grpc-status" ||
                           (report.plan != nullptr && report.plan->needs_response_fields);
    if (is_wanted) report.trailers.add(field.name, field.value);
  }
}

void RequestReporter::describe(const Report& report, Texts& texts, RequestFacts& facts) const {
  const Arrival& arrival = report.arrival;
  facts.request = report.request != nullptr ? report.request : &texts.none;
  facts.response = report.status == 0 ? nullptr : &report.response;
  facts.trailers = &report.trailers;
  facts.status = report.status;
  facts.flags = to_string(report.flag);
  facts.details = details_of(report);
  facts.request_bytes = report.received_bytes;
  facts.response_bytes = report.sent_bytes;
  facts.duration = report.duration;
  facts.began = std::chrono::system_clock::now() -
                std::chrono::duration_cast<std::chrono::system_clock::duration>(report.duration);
  facts.upstream_answered = report.upstream;
  facts.route_name = report.route;
  facts.upstream_host = report.endpoint;
  if (report.destination != nullptr) texts.cluster = cluster_of(*report.destination);
  facts.upstream_cluster = texts.cluster;
  facts.downstream_remote = arrival.client;
  facts.downstream_local.port = arrival.port;
  facts.mutual_tls = arrival.caller.has_value();
  if (const auto state = known_.state()) {
    texts.service = state->service_by_key(arrival.service);
    texts.source = state->workload_by_ip(arrival.client.ip);
    if (const auto endpoint = SocketAddress::parse(report.endpoint)) {
      texts.destination = state->workload_by_ip(endpoint->ip);
    }
  }
  // An address alone proves nothing.
  const bool is_proven =
      texts.source && arrival.caller && texts.source->identity == *arrival.caller;
  if (is_proven) facts.source = labels_of(texts.source.get());
  if (arrival.caller) facts.source.principal = &*arrival.caller;
  facts.destination = labels_of(texts.destination.get());
  if (texts.destination) facts.destination.principal = &texts.destination->identity;
  const size_t slash = arrival.service.find('/');
  facts.destination_service_namespace = std::string_view(arrival.service).substr(0, slash);
  if (slash != std::string::npos) {
    facts.destination_service = std::string_view(arrival.service).substr(slash + 1);
  }
  if (texts.service) {
    facts.destination_service_name = texts.service->name;
    if (!texts.service->vips.empty()) facts.downstream_local.ip = texts.service->vips.front();
  }
}

void RequestReporter::on_request(const Report& report) {
  const auto plan = report.plan != nullptr ? report.plan : plan_for(report.arrival.service);
  Texts texts;
  RequestFacts facts;
  describe(report, texts, facts);
  if (plan->metrics) metrics_.count(*plan->metrics, facts);
  log(*plan, facts);
  trace(report, facts);
}

void RequestReporter::log(const RequestPlan& plan, const RequestFacts& facts) {
  for (const RequestPlan::Log& one : plan.logs) {
    if (one.filter && !one.filter->holds(facts)) continue;
    auto to =
        std::ranges::find_if(logs_, [&](const Log& log) { return log.writer->file() == one.file; });
    if (to == logs_.end()) {
      to = logs_.insert(logs_.end(), {std::make_unique<telemetry::LogWriter>(loop_, one.file), {}});
    }
    one.format.append(to->lines, facts);
    turn_end_.ask();
  }
}

void RequestReporter::flush() {
  for (Log& log : logs_) {
    if (!log.lines.empty()) log.writer->add(log.lines);
    log.lines.clear();
  }
  // A file that configuration no longer names is closed after its last line.
  constexpr long kAlone = 1;
  std::erase_if(logs_, [](const Log& log) {
    return log.writer->is_idle() && log.writer->file().use_count() == kAlone;
  });
}

runtime::Task<void> RequestReporter::close() {
  flush();
  for (const Log& log : logs_) co_await log.writer->close();
  co_await exporter_.close();
}

void RequestReporter::trace(const Report& report, const RequestFacts& facts) {
  if (!report.trace || !*report.trace->sampled || !report.plan->tracing->report()) return;
  const Tracing& config = *report.plan->tracing;
  const size_t bytes = config.tag_bytes_max() == 0 ? kUrlBytes : config.tag_bytes_max();
  telemetry::Span span = telemetry::span_of(facts, *report.trace, config.mesh_tags(), bytes);
  for (const RequestPlan::Tag& tag : report.plan->tags) {
    std::string value;
    if (!tag.format.append_text(value, facts)) value = tag.default_value;
    if (!value.empty()) span.tags.emplace_back(tag.name, std::move(value));
  }
  exporter_.add(report.plan, std::move(span));
}

}  // namespace weft::waypoint
