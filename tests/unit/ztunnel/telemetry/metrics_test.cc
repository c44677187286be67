#include "ztunnel/telemetry/metrics.h"

#include "tests/unit/ztunnel/telemetry/exposition_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

namespace weft::telemetry {
namespace {

const SpiffeId kAlice{"cluster.local", "a", "alice"};
const SpiffeId kBob{"cluster.local", "b", "bob"};

ConnectionLabels full_labels() {
  ConnectionLabels labels;
  labels.source = {.known = true,
                   .workload = "client",
                   .workload_namespace = "a",
                   .canonical_service = "client-svc",
                   .canonical_revision = "v1",
                   .app = "client-app",
                   .version = "v1",
                   .cluster = "Kubernetes",
                   .region = "r1",
                   .zone = "z1",
                   .principal = &kAlice};
  labels.destination = labels.source;
  labels.destination.workload = "server";
  labels.destination.principal = &kBob;
  labels.destination_service = "server.b.svc.cluster.local";
  labels.destination_service_namespace = "b";
  labels.destination_service_name = "server";
  labels.mutual_tls = true;
  return labels;
}

const SampleLabels kFullLabels{
    {"reporter", "source"},
    {"source_workload", "client"},
    {"source_canonical_service", "client-svc"},
    {"source_canonical_revision", "v1"},
    {"source_workload_namespace", "a"},
    {"source_principal", "spiffe://cluster.local/ns/a/sa/alice"},
    {"source_app", "client-app"},
    {"source_version", "v1"},
    {"source_cluster", "Kubernetes"},
    {"destination_service", "server.b.svc.cluster.local"},
    {"destination_service_namespace", "b"},
    {"destination_service_name", "server"},
    {"destination_workload", "server"},
    {"destination_canonical_service", "client-svc"},
    {"destination_canonical_revision", "v1"},
    {"destination_workload_namespace", "a"},
    {"destination_principal", "spiffe://cluster.local/ns/b/sa/bob"},
    {"destination_app", "client-app"},
    {"destination_version", "v1"},
    {"destination_cluster", "Kubernetes"},
    {"request_protocol", "tcp"},
    {"response_flags", "-"},
    {"connection_security_policy", "mutual_tls"},
    {"source_region", "r1"},
    {"source_zone", "z1"},
    {"destination_region", "r1"},
    {"destination_zone", "z1"},
};

Exposition scrape(const Registry& registry) {
  Exposition exposition = read_exposition(registry.scrape());
  EXPECT_EQ(exposition.error, "");
  return exposition;
}

TEST(MetricsTest, ReportsAConnectionUnderZtunnelsNamesAndLabels) {
  Registry registry;
  Shard& shard = registry.add_shard();
  ConnectionCounters counters = shard.connection(full_labels());
  counters.opened();
  counters.received(100);
  counters.sent(4096);
  counters.sent(4);
  counters.closed();
  ConnectionLabels denied = full_labels();
  denied.flag = Flag::kDenied;
  shard.connection(denied).failed();

  Exposition exposition = scrape(registry);
  const auto value = [&](const std::string& name) { return exposition.samples[name][kFullLabels]; };
  EXPECT_EQ(value("istio_tcp_connections_opened_total"), 1);
  EXPECT_EQ(value("istio_tcp_connections_closed_total"), 1);
  EXPECT_EQ(value("istio_tcp_received_bytes_total"), 100);
  EXPECT_EQ(value("istio_tcp_sent_bytes_total"), 4100);
  SampleLabels flagged = kFullLabels;
  flagged["response_flags"] = "DENY";
  EXPECT_THAT(exposition.samples["istio_tcp_connections_failed_total"],
              ::testing::ElementsAre(::testing::Pair(flagged, 1)));
  for (const auto& [name, type] : exposition.types) EXPECT_EQ(type, "counter") << name;
  EXPECT_EQ(exposition.helps.size(), exposition.types.size());
}

TEST(MetricsTest, SaysUnknownForWhatIsMissingAndLeavesLocalityOut) {
  Registry registry;
  ConnectionLabels labels;
  labels.reporter = Reporter::kDestination;
  registry.add_shard().connection(labels).opened();
  Exposition exposition = scrape(registry);
  ASSERT_EQ(exposition.samples["istio_tcp_connections_opened_total"].size(), 1U);
  const SampleLabels& got = exposition.samples["istio_tcp_connections_opened_total"].begin()->first;
  EXPECT_EQ(got.size(), 23U);
  for (const auto& [name, text] : got) {
    if (name == "reporter") {
      EXPECT_EQ(text, "destination");
    } else if (name == "request_protocol") {
      EXPECT_EQ(text, "tcp");
    } else if (name == "response_flags") {
      EXPECT_EQ(text, "-");
    } else {
      EXPECT_EQ(text, "unknown") << name;
    }
  }
}

TEST(MetricsTest, EscapesHostileLabelValues) {
  Registry registry;
  const std::string hostile = "a\"} 7\nforged{x=\"\\";
  ConnectionLabels labels;
  labels.source.app = hostile;
  const SpiffeId odd{"a\"b", "c\\d", "e\nf"};
  labels.source.principal = &odd;
  registry.add_shard().connection(labels).opened();
  registry.counter("weft_test_total", "Two\nlines \\ and \"quotes\".", {{"reason", hostile}}).add();
  Exposition exposition = scrape(registry);
  const SampleLabels& got = exposition.samples["istio_tcp_connections_opened_total"].begin()->first;
  EXPECT_EQ(got.at("source_app"), hostile);
  EXPECT_EQ(got.at("source_principal"), "spiffe://a\"b/ns/c\\d/sa/e\nf");
  EXPECT_EQ(exposition.samples["weft_test_total"].begin()->first.at("reason"), hostile);
  EXPECT_FALSE(exposition.samples.contains("forged"));
}

TEST(MetricsTest, EveryFlagHasZtunnelsName) {
  EXPECT_EQ(to_string(Flag::kConnect), "CONNECT");
  EXPECT_EQ(to_string(Flag::kTlsFailure), "TLS_FAILURE");
  EXPECT_EQ(to_string(Flag::kH2HandshakeFailure), "H2_HANDSHAKE_FAILURE");
  EXPECT_EQ(to_string(Flag::kNetworkPolicy), "NETWORK_POLICY");
  EXPECT_EQ(to_string(Flag::kIdentityError), "IDENTITY_ERROR");
  EXPECT_EQ(to_string(Flag::kCertRevoked), "CERT_REVOKED");
}

TEST(MetricsTest, AddsShardsUpWhileTheyCount) {
  constexpr size_t kWorkers = 4;
  constexpr uint64_t kConnections = 2000;
  Registry registry;
  {
    std::vector<std::jthread> workers;
    for (size_t i = 0; i < kWorkers; ++i) {
      workers.emplace_back([&shard = registry.add_shard()] {
        for (uint64_t n = 0; n < kConnections; ++n) {
          const std::string app = "app-" + std::to_string(n % 50);
          ConnectionLabels labels;
          labels.source.app = app;
          ConnectionCounters counters = shard.connection(labels);
          counters.opened();
          counters.sent(10);
          counters.closed();
        }
      });
    }
    for (int i = 0; i < 20; ++i) scrape(registry);
  }
  Exposition exposition = scrape(registry);
  const auto& opened = exposition.samples["istio_tcp_connections_opened_total"];
  EXPECT_EQ(opened.size(), 50U);
  double sum = 0;
  for (const auto& [labels, value] : opened) sum += value;
  EXPECT_EQ(sum, kWorkers * kConnections);
}

TEST(MetricsTest, CountsPastTheBoundInOneUnknownSeries) {
  Registry registry;
  Shard& shard = registry.add_shard();
  for (size_t i = 0; i < Shard::kSeriesMax + 5; ++i) {
    const std::string app = std::to_string(i);
    ConnectionLabels labels;
    labels.source.app = app;
    shard.connection(labels).opened();
  }
  ConnectionLabels known;
  known.source.app = "17";
  shard.connection(known).opened();  // series that are there go on
  Exposition exposition = scrape(registry);
  const auto& opened = exposition.samples["istio_tcp_connections_opened_total"];
  EXPECT_EQ(opened.size(), Shard::kSeriesMax + 1);
  double unknown = 0;
  double seventeen = 0;
  for (const auto& [labels, value] : opened) {
    if (labels.at("source_app") == "unknown") unknown = value;
    if (labels.at("source_app") == "17") seventeen = value;
  }
  EXPECT_EQ(unknown, 5);
  EXPECT_EQ(seventeen, 2);
  EXPECT_EQ(exposition.samples["weft_metrics_series_refused_total"][{}], 5);
}

TEST(MetricsTest, KeepsCountersAndGaugesByNameAndLabels) {
  Registry registry;
  Counter& messages = registry.counter("istio_xds_message_total", "Messages.", {{"url", "a"}});
  messages.add();
  registry.counter("istio_xds_message_total", "Messages.", {{"url", "a"}}).add(2);
  registry.counter("istio_xds_message_total", "Messages.", {{"url", "b"}}).add();
  registry.gauge("weft_pods", "Pods.").set(-3);
  int64_t read = 41;
  registry.gauge_from("weft_certificates", "Certificates.", [&read] { return ++read; });
  EXPECT_EQ(messages.value(), 3U);
  Exposition exposition = scrape(registry);
  const SampleLabels a{{"url", "a"}};
  const SampleLabels b{{"url", "b"}};
  EXPECT_EQ(exposition.samples["istio_xds_message_total"][a], 3);
  EXPECT_EQ(exposition.samples["istio_xds_message_total"][b], 1);
  EXPECT_EQ(exposition.samples["weft_pods"][{}], -3);
  EXPECT_EQ(exposition.types["weft_pods"], "gauge");
  EXPECT_EQ(exposition.samples["weft_certificates"][{}], 42);
}

TEST(MetricsTest, BoundsTheSeriesOfAName) {
  Registry registry;
  for (int i = 0; i < 1500; ++i) {
    registry.counter("weft_test_total", "A test's.", {{"from", std::to_string(i)}}).add();
  }
  Exposition exposition = scrape(registry);
  EXPECT_EQ(exposition.samples["weft_test_total"].size(), 1001U);
  const SampleLabels other{{"from", "other"}};
  EXPECT_EQ(exposition.samples["weft_test_total"][other], 500);
}

TEST(MetricsTest, AHistogramCountsUpToEachBound) {
  Registry registry;
  Histogram& histogram = registry.histogram("took_seconds", "How long it took.", {"0.5", "1.0"});
  EXPECT_EQ(&registry.histogram("took_seconds", "", {}), &histogram);
  for (const int ms : {100, 500, 501, 1000, 4000}) histogram.observe(std::chrono::milliseconds(ms));
  const Exposition read = read_exposition(registry.scrape());
  EXPECT_EQ(read.error, "");
  EXPECT_EQ(read.types.at("took_seconds"), "histogram");
  const auto& buckets = read.samples.at("took_seconds_bucket");
  EXPECT_EQ(buckets.at({{"le", "0.5"}}), 2);
  EXPECT_EQ(buckets.at({{"le", "1.0"}}), 4);
  EXPECT_EQ(buckets.at({{"le", "+Inf"}}), 5);
  EXPECT_EQ(read.samples.at("took_seconds_count").at({}), 5);
  EXPECT_DOUBLE_EQ(read.samples.at("took_seconds_sum").at({}), 6.101);
}

TEST(MetricsTest, TellsAboutTheProcess) {
  Registry registry;
  registry.add_process_metrics("ztunnel", "test");
  Exposition exposition = scrape(registry);
  const SampleLabels build{{"component", "ztunnel"}, {"tag", "test"}};
  EXPECT_EQ(exposition.samples["istio_build"][build], 1);
  EXPECT_GE(exposition.samples["process_open_fds"][{}], 3);
  EXPECT_GE(exposition.samples["process_max_fds"][{}], exposition.samples["process_open_fds"][{}]);
  EXPECT_GT(exposition.samples["process_resident_memory_bytes"][{}], 1024 * 1024);
}

TEST(MetricsDeathTest, ANameStandsForOneKind) {
  Registry registry;
  registry.counter("weft_test_total", "A test's.");
  EXPECT_DEATH(registry.gauge("weft_test_total", "A test's."), "invariant broken");
}

}  // namespace
}  // namespace weft::telemetry
