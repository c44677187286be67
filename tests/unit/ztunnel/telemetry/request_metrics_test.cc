#include "ztunnel/telemetry/request_metrics.h"

#include "tests/unit/ztunnel/telemetry/request_sample.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace weft::telemetry {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr const char* kLabels =
    "reporter=\"waypoint\",source_workload=\"reviews-v1\",source_canonical_service=\"reviews\","
    "source_canonical_revision=\"v1\",source_workload_namespace=\"shop\","
    "source_principal=\"spiffe://cluster.local/ns/shop/sa/reviews\",source_app=\"reviews\","
    "source_version=\"v1\",source_cluster=\"Kubernetes\","
    "destination_service=\"ratings.shop.svc.cluster.local\","
    "destination_service_namespace=\"shop\",destination_service_name=\"ratings\","
    "destination_workload=\"ratings-v1\",destination_canonical_service=\"ratings\","
    "destination_canonical_revision=\"latest\",destination_workload_namespace=\"shop\","
    "destination_principal=\"unknown\",destination_app=\"ratings\","
    "destination_version=\"unknown\",destination_cluster=\"Kubernetes\","
    "request_protocol=\"http\",response_code=\"200\",response_flags=\"-\","
    "connection_security_policy=\"mutual_tls\"";

TEST(RequestMetrics, HaveIstiosNamesLabelsAndBuckets) {
  Registry registry;
  const SampleRequest sample;
  const MetricsPlan plan;
  // Two workers' parts are added up.
  registry.add_request_shard().count(plan, sample.facts);
  registry.add_request_shard().count(plan, sample.facts);
  const std::string text = registry.scrape();
  const std::string labels(kLabels);
  EXPECT_THAT(text, HasSubstr("istio_requests_total{" + labels + "} 2\n"));
  const std::string duration = "istio_request_duration_milliseconds";
  EXPECT_THAT(text, HasSubstr(duration + "_bucket{" + labels + ",le=\"1\"} 0\n"));
  EXPECT_THAT(text, HasSubstr(duration + "_bucket{" + labels + ",le=\"5\"} 2\n"));
  EXPECT_THAT(text, HasSubstr(duration + "_bucket{" + labels + ",le=\"3600000\"} 2\n"));
  EXPECT_THAT(text, HasSubstr(duration + "_bucket{" + labels + ",le=\"+Inf\"} 2\n"));
  EXPECT_THAT(text, HasSubstr(duration + "_sum{" + labels + "} 8.4"));
  EXPECT_THAT(text, HasSubstr(duration + "_count{" + labels + "} 2\n"));
  EXPECT_THAT(text, HasSubstr("istio_request_bytes_sum{" + labels + "} 24\n"));
  EXPECT_THAT(text, HasSubstr("istio_response_bytes_bucket{" + labels + ",le=\"500\"} 2\n"));
  EXPECT_THAT(text, Not(HasSubstr("istio_request_messages_total{")));
}

TEST(RequestMetrics, CountMessagesOfGrpc) {
  Registry registry;
  SampleRequest sample;
  sample.head.fields.add("content-type", "application/grpc+proto");
  http::FieldList trailers;
  trailers.add("grpc-status", "5");
  sample.facts.trailers = &trailers;
  sample.facts.request_messages = 3;
  sample.facts.response_messages = 1;
  registry.add_request_shard().count(MetricsPlan(), sample.facts);
  const std::string text = registry.scrape();
  EXPECT_THAT(text, HasSubstr("request_protocol=\"grpc\",response_code=\"200\","
                              "grpc_response_status=\"5\",response_flags=\"-\""));
  EXPECT_THAT(text, testing::ContainsRegex("istio_request_messages_total[{].*[}] 3\n"));
  EXPECT_THAT(text, testing::ContainsRegex("istio_response_messages_total[{].*[}] 1\n"));
}

TEST(RequestMetrics, FollowOverrides) {
  Registry registry;
  const SampleRequest sample;
  const auto team = Expression::parse("request.headers['x-team']");
  ASSERT_TRUE(team);
  const MetricsPlan plan({
      {.metrics = {}, .disabled = std::nullopt, .tags = {{"source_principal", std::nullopt}}},
      {.metrics = {RequestMetric::kDuration}, .disabled = true, .tags = {}},
      {.metrics = {RequestMetric::kRequests},
       .disabled = std::nullopt,
       .tags = {{"team", *team}, {"bad-name", *team}, {"response_code", *team}}},
  });
  registry.add_request_shard().count(plan, sample.facts);
  const std::string text = registry.scrape();
  EXPECT_THAT(text, Not(HasSubstr("source_principal")));
  EXPECT_THAT(text, Not(HasSubstr("istio_request_duration_milliseconds_count{")));
  EXPECT_THAT(text, Not(HasSubstr("bad-name")));
  EXPECT_THAT(text, testing::ContainsRegex("istio_requests_total[{].*response_code=\"blue\""));
  EXPECT_THAT(text, testing::ContainsRegex("istio_requests_total[{].*team=\"blue\""));
  EXPECT_THAT(text, testing::ContainsRegex("istio_request_bytes_count[{].*response_code=\"200\""));
}

TEST(RequestMetrics, AreBounded) {
  Registry registry;
  RequestShard& shard = registry.add_request_shard();
  SampleRequest sample;
  const MetricsPlan plan;
  for (size_t i = 0; i < RequestShard::kSeriesMax + 7; ++i) {
    const std::string name = "host-" + std::to_string(i);
    sample.facts.destination_service = name;
    shard.count(plan, sample.facts);
  }
  const std::string text = registry.scrape();
  EXPECT_THAT(text, HasSubstr("weft_metrics_series_refused_total 7\n"));
  EXPECT_THAT(text, testing::ContainsRegex(
                        "istio_requests_total[{][^}]*source_workload=\"unknown\"[^}]*[}] 7\n"));
}

}  // namespace
}  // namespace weft::telemetry
