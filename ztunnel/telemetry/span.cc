#include "ztunnel/telemetry/span.h"

#include "proto/otlp.pb.h"
#include "ztunnel/telemetry/log_format.h"

#include <algorithm>

namespace weft::telemetry {
namespace {

void add(Span& span, std::string_view name, std::string_view value) {
  if (!value.empty()) span.tags.emplace_back(name, value);
}

void add_side(Span& span, std::string_view side, const WorkloadLabels& labels) {
  if (!labels.known) return;
  const std::string prefix = "istio." + std::string(side) + "_";
  add(span, prefix + "workload", labels.workload);
  add(span, prefix + "namespace", labels.workload_namespace);
  add(span, prefix + "cluster_id", labels.cluster);
  add(span, prefix + "canonical_service", labels.canonical_service);
  add(span, prefix + "canonical_revision",
      labels.canonical_revision.empty() ? "latest" : labels.canonical_revision);
  add(span, prefix + "app", labels.app);
  add(span, prefix + "version", labels.version);
}

uint64_t nanoseconds(std::chrono::system_clock::time_point time) {
  return static_cast<uint64_t>(
      std::chrono::duration_cast<std::chrono::nanoseconds>(time.time_since_epoch()).count());
}

std::string big_endian(uint64_t number) {
  std::string bytes(sizeof number, '\0');
  for (size_t i = bytes.size(); i > 0; --i) {
    bytes[i - 1] = static_cast<char>(number & 0xff);
    number >>= 8U;
  }
  return bytes;
}

class Json {
 public:
  void text(std::string_view name, std::string_view value) {
    begin(name);
    append_json_string(out_, value);
  }
  void number(std::string_view name, uint64_t value) {
    begin(name);
    out_ += std::to_string(value);
  }
  void open(std::string_view name) {
    begin(name);
    out_ += '{';
    first_ = true;
  }
  void close() {
    out_ += '}';
    first_ = false;
  }
  void next(std::string_view between) {
    out_ += between;
    out_ += '{';
    first_ = true;
  }
  void raw(std::string_view what) { out_ += what; }
  std::string take() { return std::move(out_); }

 private:
  void begin(std::string_view name) {
    if (!first_) out_ += ',';
    first_ = false;
    append_json_string(out_, name);
    out_ += ':';
  }
  std::string out_;
  bool first_ = true;
};

void append_peer(Json& json, const std::string& peer) {
  const auto address = SocketAddress::parse(peer);
  if (!address) return;
  json.open("remoteEndpoint");
  json.text(address->ip.is_v4() ? "ipv4" : "ipv6", address->ip.to_string());
  json.number("port", address->port);
  json.close();
}

// Protobuf takes no text that is not UTF-8; JSON's rules make it that.
std::string clean(std::string_view value) {
  std::string text;
  append_json_string(text, value);
  const bool is_plain = text.size() == value.size() + 2;
  return is_plain ? std::string(value) : text.substr(1, text.size() - 2);
}

void fill(weft::otlp::KeyValue& out, std::string_view key, std::string_view value) {
  out.set_key(clean(key));
  out.mutable_value()->set_string_value(clean(value));
}

}  // namespace

Span span_of(const RequestFacts& facts, const TraceContext& context, bool mesh_tags,
             size_t tag_bytes_max) {
  constexpr int kServerError = 500;
  Span span;
  span.context = context;
  span.began = facts.began;
  span.duration = facts.duration;
  span.failed = facts.status == 0 || facts.status >= kServerError;
  const http::RequestHead& head = *facts.request;
  span.name = facts.destination_service.empty() ? std::string(head.authority)
                                                : std::string(facts.destination_service);
  span.name += ":" + std::to_string(facts.downstream_local.port) + "/*";
  span.peer = facts.downstream_remote.to_string();
  add(span, "component", "proxy");
  add(span, "http.method", head.method);
  std::string url(head.scheme);
  url.append("://").append(head.authority).append(head.path);
  add(span, "http.url", std::string_view(url).substr(0, tag_bytes_max));
  add(span, "http.protocol", protocol_of(head.version));
  add(span, "http.status_code", std::to_string(facts.status));
  add(span, "user_agent", head.fields.get("user-agent"));
  add(span, "guid:x-request-id", head.fields.get("x-request-id"));
  add(span, "request_size", std::to_string(facts.request_bytes));
  add(span, "response_size", std::to_string(facts.response_bytes));
  add(span, "response_flags", facts.flags);
  add(span, "upstream_cluster", facts.upstream_cluster);
  add(span, "upstream_cluster.name", facts.upstream_cluster);
  add(span, "upstream_address", facts.upstream_host);
  add(span, "peer.address", facts.downstream_remote.ip.to_string());
  if (span.failed) add(span, "error", "true");
  if (const auto status = facts.grpc_status()) {
    add(span, "grpc.status_code", std::to_string(*status));
    if (*status != 0) span.failed = true;
  }
  if (mesh_tags) {
    add_side(span, "source", facts.source);
    add_side(span, "destination", facts.destination);
  }
  return span;
}

std::string to_zipkin(const std::vector<Span>& spans, std::string_view service) {
  constexpr int64_t kPerMicrosecond = 1000;
  Json json;
  json.raw("[");
  std::string_view between;
  for (const Span& span : spans) {
    json.next(between);
    between = ",";
    json.text("traceId", hex_of(span.context.trace_high) + hex_of(span.context.trace_low));
    json.text("id", hex_of(span.context.span));
    if (span.context.parent != 0) json.text("parentId", hex_of(span.context.parent));
    json.text("kind", "SERVER");
    json.text("name", span.name);
    json.number("timestamp", nanoseconds(span.began) / kPerMicrosecond);
    // Zipkin takes no 0.
    json.number("duration", static_cast<uint64_t>(
                                std::max<int64_t>(span.duration.count() / kPerMicrosecond, 1)));
    json.open("localEndpoint");
    json.text("serviceName", service);
    json.close();
    append_peer(json, span.peer);
    json.open("tags");
    for (const auto& [name, value] : span.tags) json.text(name, value);
    json.close();
    json.close();
  }
  json.raw("]");
  return json.take();
}

std::string to_otlp(const std::vector<Span>& spans, std::string_view service) {
  weft::otlp::ExportTraceServiceRequest request;
  auto& resource = *request.add_resource_spans();
  fill(*resource.mutable_resource()->add_attributes(), "service.name", service);
  auto& scope = *resource.add_scope_spans();
  scope.mutable_scope()->set_name("weft");
  for (const Span& span : spans) {
    auto& out = *scope.add_spans();
    out.set_trace_id(big_endian(span.context.trace_high) + big_endian(span.context.trace_low));
    out.set_span_id(big_endian(span.context.span));
    if (span.context.parent != 0) out.set_parent_span_id(big_endian(span.context.parent));
    out.set_name(clean(span.name));
    out.set_kind(weft::otlp::Span::SERVER);
    out.set_start_time_unix_nano(nanoseconds(span.began));
    out.set_end_time_unix_nano(nanoseconds(span.began) +
                               static_cast<uint64_t>(std::max<int64_t>(span.duration.count(), 0)));
    out.set_flags(1);  // sampled
    for (const auto& [name, value] : span.tags) fill(*out.add_attributes(), name, value);
    if (span.failed) out.mutable_status()->set_code(weft::otlp::Span::Status::ERROR);
  }
  return request.SerializeAsString();
}

}  // namespace weft::telemetry
