#include "ztunnel/telemetry/log_format.h"

#include "tests/unit/ztunnel/telemetry/request_sample.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace weft::telemetry {
namespace {

using testing::HasSubstr;

std::string line(std::string_view format, const RequestFacts& facts) {
  const auto made = LogFormat::of_text(format);
  if (!made) return made.error().message;
  std::string out;
  made->append(out, facts);
  EXPECT_EQ(out.back(), '\n');
  out.pop_back();
  return out;
}

TEST(LogFormat, SaysWhatEnvoyDoesByDefault) {
  const SampleRequest sample;
  EXPECT_EQ(line(LogFormat::kDefaultText, sample.facts),
            "[2026-01-02T03:04:05.678Z] \"GET /ratings/1?full=yes HTTP/1.1\" 200 - via_upstream - "
            "\"-\" 12 345 4 3 \"-\" \"curl/8\" \"7a1c\" \"ratings:9080\" \"10.0.3.7:9080\" "
            "shop/ratings.shop.svc.cluster.local:9080 10.0.3.1:40000 10.96.0.7:9080 "
            "10.0.2.5:51000 - ratings.rule-0");
}

TEST(LogFormat, SaysNothingOfWhatDidNotHappen) {
  http::RequestHead head;
  RequestFacts facts;
  facts.request = &head;
  facts.flags = "DPE";
  EXPECT_EQ(line("%REQ(:METHOD)% %RESPONSE_CODE% %RESPONSE_FLAGS% %UPSTREAM_HOST% "
                 "%RESP(X-A)% %TRAILER(X-B)% %RESPONSE_DURATION% %DOWNSTREAM_REMOTE_ADDRESS%",
                 facts),
            "- 0 DPE - - - - -");
}

TEST(LogFormat, KnowsOperators) {
  SampleRequest sample;
  sample.head.fields.add("x-envoy-original-path", "/before");
  const std::pair<const char*, const char*> kCases[] = {
      {"%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%", "/before"},
      {"%REQ(X-MISSING?:PATH):8%", "/ratings"},
      {"%REQ_WITHOUT_QUERY(:PATH)%", "/ratings/1"},
      {"%RESP(CONTENT-TYPE)%", "application/json"},
      {"%START_TIME(%s)%", "1767323045"},
      {"%START_TIME(%Y/%m/%dT%H:%M:%S.%6f%z)%", "2026/01/02T03:04:05.678000+0000"},
      {"100%%", "100%"},
      {"%REQUEST_DURATION% %RESPONSE_DURATION% %RESPONSE_TX_DURATION%", "1 3 1"},
      {"%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT% %DOWNSTREAM_REMOTE_PORT%", "10.0.2.5 51000"},
      {"%DOWNSTREAM_PEER_URI_SAN%", "spiffe://cluster.local/ns/shop/sa/reviews"},
      {"%UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%", "10.0.3.7"},
      {"%DYNAMIC_METADATA(com.test:key)% %FILTER_STATE(x:PLAIN)%", "- -"},
      {"%UPSTREAM_REQUEST_ATTEMPT_COUNT%", "1"},
      {"%GRPC_STATUS%", "-"},
  };
  for (const auto& [format, expected] : kCases) EXPECT_EQ(line(format, sample.facts), expected);
}

TEST(LogFormat, KnowsTheStatusOfGrpc) {
  SampleRequest sample;
  http::FieldList trailers;
  trailers.add("grpc-status", "14");
  sample.facts.trailers = &trailers;
  EXPECT_EQ(line("%GRPC_STATUS% %GRPC_STATUS_NUMBER%", sample.facts), "Unavailable 14");
  trailers.set("grpc-status", "77");
  EXPECT_EQ(line("%GRPC_STATUS%", sample.facts), "77");
  trailers.set("grpc-status", "many");
  EXPECT_EQ(line("%GRPC_STATUS%", sample.facts), "-");
}

TEST(LogFormat, RefusesWhatEnvoyDoesNotHave) {
  const SampleRequest sample;
  EXPECT_THAT(line("%BOGUS%", sample.facts), HasSubstr("%BOGUS%: there is no such operator"));
  EXPECT_THAT(line("a %REQ(X-A) b", sample.facts), HasSubstr("expected a \"%\""));
  EXPECT_THAT(line("%REQ%", sample.facts), HasSubstr("a header's name"));
  EXPECT_THAT(line("%REQ(A):x%", sample.facts), HasSubstr("expected a length"));
  EXPECT_THAT(line("%REQ(A%", sample.facts), HasSubstr("expected"));
  EXPECT_THAT(line(std::string(LogFormat::kFormatBytesMax + 1, 'x'), sample.facts),
              HasSubstr("too long"));
}

TEST(LogFormat, IsJsonWithTypes) {
  SampleRequest sample;
  sample.head.fields.set("user-agent", "a\"b\\c\x01\xff\xc3\xa9");
  const auto made = LogFormat::of_fields({{"code", "%RESPONSE_CODE%"},
                                          {"agent", "%REQ(USER-AGENT)%"},
                                          {"absent", "%REQ(X-NONE)%"},
                                          {"grpc", "%GRPC_STATUS_NUMBER%"},
                                          {"both", "%PROTOCOL% %REQ(X-NONE)%"},
                                          {"fixed\n", "text"}});
  ASSERT_TRUE(made);
  std::string out;
  made->append(out, sample.facts);
  EXPECT_EQ(out,
            "{\"code\":200,\"agent\":\"a\\\"b\\\\c\\u0001\xef\xbf\xbd\xc3\xa9\",\"absent\":null,"
            "\"grpc\":null,\"both\":\"HTTP/1.1 -\",\"fixed\\u000a\":\"text\"}\n");
  EXPECT_EQ(LogFormat::default_fields().size(), 24U);
  EXPECT_TRUE(LogFormat::of_fields(LogFormat::default_fields()));
  const auto wrong = LogFormat::of_fields({{"a", "%NO%"}});
  ASSERT_FALSE(wrong);
  EXPECT_THAT(wrong.error().message, HasSubstr("a: %NO%"));
}

}  // namespace
}  // namespace weft::telemetry
