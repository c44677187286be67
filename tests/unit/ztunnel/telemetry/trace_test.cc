#include "proto/otlp.pb.h"
#include "tests/unit/ztunnel/telemetry/request_sample.h"
#include "ztunnel/telemetry/span.h"
#include "ztunnel/telemetry/trace_context.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace weft::telemetry {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

constexpr const char* kTrace = "0af7651916cd43dd8448eb211c80319c";
constexpr const char* kSpan = "b7ad6b7169203331";

using Fields = std::vector<std::pair<std::string, std::string>>;
std::string read(const Fields& fields) {
  http::FieldList list;
  for (const auto& [name, value] : fields) list.add(name, value);
  const auto context = read_context(list);
  if (!context) return "none";
  return hex_of(context->trace_high) + hex_of(context->trace_low) + " " + hex_of(context->span) +
         (context->sampled ? (*context->sampled ? " yes" : " no") : " ?");
}

TEST(TraceContext, IsReadInEveryForm) {
  const std::string ids = std::string(kTrace) + " " + kSpan;
  const std::string both = std::string(kTrace) + "-" + kSpan;
  EXPECT_EQ(read({{"traceparent", "00-" + both + "-01"}}), ids + " yes");
  EXPECT_EQ(read({{"traceparent", "00-" + both + "-00"}}), ids + " no");
  EXPECT_EQ(read({{"traceparent", "01-" + both + "-01-later"}}), ids + " yes");
  EXPECT_EQ(read({{"b3", both + "-1"}}), ids + " yes");
  EXPECT_EQ(read({{"b3", both + "-d-" + kSpan}}), ids + " yes");
  EXPECT_EQ(read({{"b3", both}}), ids + " ?");
  EXPECT_EQ(read({{"x-b3-traceid", kTrace}, {"x-b3-spanid", kSpan}, {"x-b3-sampled", "0"}}),
            ids + " no");
  EXPECT_EQ(
      read({{"x-b3-traceid", "8448eb211c80319c"}, {"x-b3-spanid", kSpan}, {"x-b3-flags", "1"}}),
      std::string(16, '0') + "8448eb211c80319c " + kSpan + " yes");
  const std::string none = std::string(32, '0') + " " + std::string(16, '0');
  EXPECT_EQ(read({{"b3", "0"}}), none + " no");
  EXPECT_EQ(read({{"x-b3-sampled", "1"}}), none + " yes");
}

TEST(TraceContext, IsNotTakenFromWhatIsMalformed) {
  const std::string both = std::string(kTrace) + "-" + kSpan;
  for (const std::string& text :
       {std::string(), "00-" + both, "00-" + both + "-1", "ff-" + both + "-01",
        "00-" + both + "-01-x", "01-" + both + "-01x", "00_" + both + "-01",
        "00-" + std::string(32, '0') + "-" + kSpan + "-01",
        "00-" + std::string(kTrace) + "-" + std::string(16, '0') + "-01",
        "00-0AF7651916CD43DD8448EB211C80319C-" + std::string(kSpan) + "-01"}) {
    EXPECT_EQ(read({{"traceparent", text}}), "none") << text;
  }
  for (const std::string& text : {std::string("2"), std::string("-"), both.substr(1), both + "x"}) {
    EXPECT_EQ(read({{"b3", text}}), "none") << text;
  }
  EXPECT_EQ(read({{"x-b3-traceid", kTrace}}), "none");
  EXPECT_EQ(read({{"x-b3-traceid", kTrace}, {"x-b3-spanid", "xyz"}}), "none");
}

TEST(TraceContext, IsWritten) {
  http::FieldList fields;
  fields.add("b3", "old");
  fields.add("x-b3-parentspanid", "old");
  fields.add("tracestate", "vendor=1");
  TraceContext context{.trace_high = 1, .trace_low = 2, .span = 3, .parent = 0, .sampled = true};
  write_w3c(fields, context);
  write_b3(fields, context);
  EXPECT_EQ(fields.get("traceparent"), "00-00000000000000010000000000000002-0000000000000003-01");
  EXPECT_EQ(fields.get("x-b3-traceid"), "00000000000000010000000000000002");
  EXPECT_EQ(fields.get("x-b3-spanid"), "0000000000000003");
  EXPECT_EQ(fields.get("x-b3-sampled"), "1");
  EXPECT_EQ(fields.find("b3"), nullptr);
  EXPECT_EQ(fields.find("x-b3-parentspanid"), nullptr);
  EXPECT_EQ(fields.get("tracestate"), "vendor=1");
  context.parent = 9;
  write_b3(fields, context);
  EXPECT_EQ(fields.get("x-b3-parentspanid"), "0000000000000009");
}

Span sample_span() {
  const SampleRequest sample;
  return span_of(sample.facts,
                 {.trace_high = 1, .trace_low = 2, .span = 3, .parent = 4, .sampled = true}, true,
                 20);
}

TEST(Spans, AreZipkins) {
  Span first = sample_span();
  first.tags = {{"http.method", "GET"}, {"quote\"d", "\xff"}};
  Span second = first;
  second.context.parent = 0;
  second.duration = std::chrono::nanoseconds(1);
  second.tags.clear();
  const std::string ids =
      "\"traceId\":\"00000000000000010000000000000002\","
      "\"id\":\"0000000000000003\",";
  const std::string rest =
      "\"kind\":\"SERVER\","
      "\"name\":\"ratings.shop.svc.cluster.local:9080/*\","
      "\"timestamp\":1767323045678000,";
  const std::string ends =
      "\"localEndpoint\":{\"serviceName\":\"waypoint.shop\"},"
      "\"remoteEndpoint\":{\"ipv4\":\"10.0.2.5\",\"port\":51000},\"tags\":{";
  EXPECT_EQ(to_zipkin({first, second}, "waypoint.shop"),
            "[{" + ids + "\"parentId\":\"0000000000000004\"," + rest + "\"duration\":4200," + ends +
                "\"http.method\":\"GET\",\"quote\\\"d\":\"\xef\xbf\xbd\"}},{" + ids + rest +
                "\"duration\":1," + ends + "}}]");
  EXPECT_EQ(to_zipkin({}, "x"), "[]");
}

TEST(Spans, AreOpenTelemetrys) {
  weft::otlp::ExportTraceServiceRequest request;
  ASSERT_TRUE(request.ParseFromString(to_otlp({sample_span()}, "waypoint.shop")));
  ASSERT_EQ(request.resource_spans_size(), 1);
  const auto& resource = request.resource_spans(0);
  EXPECT_EQ(resource.resource().attributes(0).key(), "service.name");
  EXPECT_EQ(resource.resource().attributes(0).value().string_value(), "waypoint.shop");
  const auto& span = resource.scope_spans(0).spans(0);
  EXPECT_EQ(span.trace_id(), std::string("\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\2", 16));
  EXPECT_EQ(span.span_id(), std::string("\0\0\0\0\0\0\0\3", 8));
  EXPECT_EQ(span.parent_span_id(), std::string("\0\0\0\0\0\0\0\4", 8));
  EXPECT_EQ(span.kind(), weft::otlp::Span::SERVER);
  EXPECT_EQ(span.start_time_unix_nano(), 1767323045678000000U);
  EXPECT_EQ(span.end_time_unix_nano() - span.start_time_unix_nano(), 4200000U);
  EXPECT_EQ(span.status().code(), weft::otlp::Span::Status::UNSET);
}

TEST(Spans, HaveEnvoysAndIstiosTags) {
  const Span span = sample_span();
  const std::map<std::string, std::string> tags(span.tags.begin(), span.tags.end());
  EXPECT_EQ(tags.at("http.url"), "http://ratings:9080/");  // cut at 20 bytes
  EXPECT_EQ(tags.at("http.status_code"), "200");
  EXPECT_EQ(tags.at("guid:x-request-id"), "7a1c");
  EXPECT_EQ(tags.at("istio.source_workload"), "reviews-v1");
  EXPECT_EQ(tags.at("istio.destination_canonical_revision"), "latest");
  EXPECT_FALSE(tags.contains("error"));
  SampleRequest sample;
  sample.facts.status = 503;
  const Span failed = span_of(sample.facts, {}, false, 256);
  EXPECT_TRUE(failed.failed);
  EXPECT_THAT(failed.tags, testing::Contains(std::pair<std::string, std::string>("error", "true")));
  EXPECT_THAT(to_zipkin({failed}, "x"), Not(HasSubstr("istio.")));
}

}  // namespace
}  // namespace weft::telemetry
