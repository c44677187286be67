#include "ztunnel/waypoint/span_exporter.h"

#include "ztunnel/base/log.h"

#include <utility>

namespace weft::waypoint {

using runtime::Task;
using Tracing = weft::telemetry::Tracing;

namespace {

constexpr const char* kOtlpCall = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
constexpr std::chrono::minutes kComplainEvery{1};

// gRPC's frame: not compressed, and how long.
std::string framed(std::string message) {
  std::string frame(5, '\0');
  for (int i = 0; i < 4; ++i) frame[4 - i] = static_cast<char>(message.size() >> (8U * i));
  return frame + message;
}

std::string body_of(const Tracing& config, const std::vector<telemetry::Span>& spans) {
  switch (config.protocol()) {
    case Tracing::OTLP_GRPC:
      return framed(telemetry::to_otlp(spans, config.service_name()));
    case Tracing::OTLP_HTTP:
      return telemetry::to_otlp(spans, config.service_name());
    default:
      return telemetry::to_zipkin(spans, config.service_name());
  }
}

http::RequestHead head_of(const Tracing& config, size_t body_bytes) {
  const bool is_grpc = config.protocol() == Tracing::OTLP_GRPC;
  http::RequestHead head;
  head.version = is_grpc ? http::Version::kHttp2 : http::Version::kHttp11;
  head.method = "POST";
  head.scheme = "http";
  head.authority = config.authority();
  head.path = is_grpc ? kOtlpCall : std::string_view(config.path());
  head.fields.add("content-type", is_grpc ? "application/grpc"
                                  : config.protocol() == Tracing::OTLP_HTTP
                                      ? "application/x-protobuf"
                                      : "application/json");
  if (is_grpc) {
    head.fields.add("te", "trailers");
  } else {
    head.fields.add("content-length", std::to_string(body_bytes));
  }
  for (const auto& header : config.headers()) head.fields.add(header.name(), header.value());
  return head;
}

// What the collector said, once its answer is whole.
Result<void> judge(int status, std::string_view grpc_status, bool is_grpc) {
  if (status < 200 || status > 299) {
    return fail(Code::kRefused, "the collector answered with status " + std::to_string(status));
  }
  if (is_grpc && grpc_status != "0") {
    return fail(Code::kRefused,
                "the collector answered with gRPC status " + std::string(grpc_status));
  }
  return {};
}

}  // namespace

SpanExporter::SpanExporter(runtime::Loop& loop, Upstreams& upstreams)
    : loop_(loop), upstreams_(upstreams) {}

SpanExporter::~SpanExporter() { loop_.unschedule(timer_); }

void SpanExporter::add(const std::shared_ptr<const telemetry::RequestPlan>& plan,
                       telemetry::Span span) {
  if (count_ >= kWaitingMax) {
    ++dropped_;
    return;
  }
  Batch& batch = waiting_[plan.get()];
  batch.plan = plan;
  batch.spans.push_back(std::move(span));
  ++count_;
  if (batch.spans.size() >= kBatchMax) {
    send_later(std::move(waiting_.extract(plan.get()).mapped()));
  } else if (timer_ == 0) {
    timer_ = loop_.schedule(kEvery, [this] { flush(); });
  }
}

void SpanExporter::flush() {
  timer_ = 0;
  for (auto& [plan, batch] : std::exchange(waiting_, {})) send_later(std::move(batch));
}

void SpanExporter::send_later(Batch batch) { tasks_.spawn(send(std::move(batch))); }

Task<void> SpanExporter::close() {
  loop_.unschedule(timer_);
  flush();
  co_await tasks_.join();
}

Task<void> SpanExporter::send(Batch batch) {
  const Tracing& config = *batch.plan->tracing;
  const Result<void> done = co_await post(config, body_of(config, batch.spans));
  count_ -= batch.spans.size();
  if (done) {
    sent_ += batch.spans.size();
    co_return;
  }
  dropped_ += batch.spans.size();
  if (complained_ != std::chrono::steady_clock::time_point() &&
      loop_.now() - complained_ < kComplainEvery) {
    co_return;
  }
  complained_ = loop_.now();
  log::warn("tracing")
      .field("provider", config.provider())
      .field("collector", config.authority())
      .field("error", done.error().to_string())
      .say("spans were not taken and are lost");
}

Task<Result<void>> SpanExporter::post(const Tracing& config, std::string body) {
  const auto version =
      config.protocol() == Tracing::OTLP_GRPC ? http::Version::kHttp2 : http::Version::kHttp11;
  auto attempt = co_await upstreams_.begin(config.collector(), version, Chooser{});
  if (!attempt) co_return Fail(std::move(attempt.error().error));
  http::ClientExchange& upstream = (*attempt)->exchange();
  const runtime::Deadline deadline(loop_, kTimeout, [&upstream] { upstream.abort(); });
  auto done = co_await exchange(upstream, config, std::move(body));
  if (deadline.expired()) co_return fail(Code::kTimeout, "the collector did not answer in time");
  co_return done;
}

Task<Result<void>> SpanExporter::exchange(http::ClientExchange& exchange, const Tracing& config,
                                          std::string body) {
  const http::RequestHead head = head_of(config, body.size());
  CO_TRY(co_await exchange.send(head, false));
  for (std::string_view left = body; !left.empty();) {
    const std::string_view part = left.substr(0, runtime::BufferPool::kBufferBytes);
    left.remove_prefix(part.size());
    CO_TRY(co_await exchange.write(loop_.buffers().copy_of(part)));
  }
  CO_TRY(co_await exchange.finish({}));
  http::ResponseHead answer = CO_TRY(co_await exchange.response());
  while (answer.status < 200) answer = CO_TRY(co_await exchange.response());
  while (exchange.has_more()) CO_TRY(co_await exchange.read());
  const http::FieldList trailers = exchange.take_trailers();
  std::string_view status = trailers.get("grpc-status");
  if (status.empty()) status = answer.fields.get("grpc-status");
  co_return judge(answer.status, status, config.protocol() == Tracing::OTLP_GRPC);
}

}  // namespace weft::waypoint
