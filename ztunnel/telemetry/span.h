#pragma once

#include "ztunnel/telemetry/request.h"
#include "ztunnel/telemetry/trace_context.h"

#include <chrono>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace weft::telemetry {

// One hop of a request, as a tracing backend keeps it. Its kind is SERVER.
struct Span {
  TraceContext context;
  std::string name;
  std::chrono::system_clock::time_point began{};
  std::chrono::nanoseconds duration{0};
  bool failed = false;
  std::string peer;  // "ip:port" of who asked
  std::vector<std::pair<std::string, std::string>> tags;
};

// Of a request, with the tags that Envoy and Istio give one. `tag_bytes_max`: of http.url.
Span span_of(const RequestFacts& facts, const TraceContext& context, bool mesh_tags,
             size_t tag_bytes_max);

// The body of a POST to a Zipkin's /api/v2/spans. `service`: whose spans these are.
std::string to_zipkin(const std::vector<Span>& spans, std::string_view service);
// A serialized ExportTraceServiceRequest, for OTLP by gRPC and by HTTP.
std::string to_otlp(const std::vector<Span>& spans, std::string_view service);

}  // namespace weft::telemetry
