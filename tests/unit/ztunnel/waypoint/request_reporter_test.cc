#include "ztunnel/waypoint/request_reporter.h"

#include "proto/otlp.pb.h"
#include "tests/support/run_task.h"
#include "ztunnel/base/file.h"
#include "ztunnel/http/h2_accept.h"
#include "ztunnel/http/http1_accept.h"
#include "ztunnel/learn/state_builder.h"
#include "ztunnel/runtime/memory_pipe.h"
#include "ztunnel/waypoint/pooled_upstreams.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <simdjson.h>

#include <cstdlib>
#include <filesystem>

namespace weft::waypoint {
namespace {

using ::testing::ContainsRegex;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;
using Tracing = weft::telemetry::Tracing;

// One collector in memory, which takes what is posted to it.
class CollectorNetwork final : public Network {
 public:
  explicit CollectorNetwork(runtime::Loop& loop) : loop_(loop) {}

  bool is_http2 = false;
  bool is_away = false;
  int status = 200;
  std::string grpc_status = "0";
  struct Posted {
    std::string line;  // method and path
    std::string type;
    std::string key;  // x-key
    std::string body;
  };
  std::vector<Posted> posted;

  uint64_t generation() const override { return 1; }
  auto endpoints(const weft::route::Destination& destination)
      -> decltype(std::declval<Network&>().endpoints(destination)) override {
    decltype(std::declval<Network&>().endpoints(destination)) made(1);
    made.front().address = *SocketAddress::parse("10.0.0.9:9411");
    made.front().name = destination.hostname();
    return made;
  }
  weft::route::Port::Protocol protocol(const weft::route::Destination&) override {
    return is_http2 ? weft::route::Port::HTTP2 : weft::route::Port::HTTP1;
  }
  const weft::route::Traffic* traffic(const weft::route::Destination&) override { return nullptr; }
  using Place = std::remove_cvref_t<decltype(std::declval<Network&>().endpoints({}).front())>;
  runtime::Task<Result<std::unique_ptr<runtime::ByteStream>>> dial(
      const Place&, const weft::route::Traffic&, std::chrono::milliseconds) override {
    if (is_away) co_return fail(Code::kUnavailable, "connection refused");
    auto [client, server] = runtime::make_memory_pipe();
    loop_.spawn(is_http2 ? serve_http2(std::move(server)) : serve_http1(std::move(server)));
    co_return std::move(client);
  }

 private:
  runtime::Task<void> serve_http1(std::unique_ptr<runtime::ByteStream> stream) {
    http::Http1Server server(loop_, std::move(stream), {});
    while (std::unique_ptr<http::ServerExchange> exchange = co_await server.next()) {
      co_await take(std::move(exchange));
    }
  }
  runtime::Task<void> serve_http2(std::unique_ptr<runtime::ByteStream> stream) {
    http::Http2Server server(loop_, std::move(stream),
                             [this](std::unique_ptr<http::ServerExchange> exchange) {
                               loop_.spawn(take(std::move(exchange)));
                             });
    static_cast<void>(co_await server.run());
  }
  runtime::Task<void> take(std::unique_ptr<http::ServerExchange> exchange) {
    const http::RequestHead& head = exchange->request();
    Posted one{.line = std::string(head.method) + " " + std::string(head.path),
               .type = std::string(head.fields.get("content-type")),
               .key = std::string(head.fields.get("x-key")),
               .body = {}};
    while (exchange->has_more()) {
      Result<runtime::Buffer> bytes = co_await exchange->read();
      if (!bytes) co_return;
      one.body += bytes->text();
    }
    posted.push_back(std::move(one));
    http::ResponseHead answer;
    answer.status = status;
    http::FieldList trailers;
    if (is_http2) {
      answer.fields.add("content-type", "application/grpc");
      trailers.add("grpc-status", grpc_status);
    } else {
      answer.fields.add("content-length", "0");
    }
    if (!co_await exchange->respond(std::move(answer), !is_http2) || !is_http2) co_return;
    static_cast<void>(co_await exchange->finish(std::move(trailers)));
  }
  runtime::Loop& loop_;
};

// One worker's reporter in a mesh of a client, a server and the service between.
class RequestReports : public ::testing::Test {
 protected:
  RequestReports() {
    weft::telemetry::Telemetry plain;
    plain.mutable_metrics();
    use(plain);
    learn_mesh();
    arrival.client = *SocketAddress::parse("10.0.2.5:51000");
    arrival.caller = SpiffeId{"cluster.local", "shop", "reviews"};
  }

  void use(const weft::telemetry::Telemetry& telemetry) {
    std::vector<Error> problems;
    auto config = std::make_shared<Config>();
    config->telemetry["*"] = telemetry::RequestPlan::make(telemetry, files, problems);
    for (const Error& problem : problems) said.push_back(problem.message);
    config_ = std::move(config);
  }
  static weft::telemetry::Telemetry traced(Tracing::Protocol protocol, double percent = 100) {
    weft::telemetry::Telemetry telemetry;
    Tracing& tracing = *telemetry.mutable_tracing();
    tracing.set_provider("collector");
    tracing.set_protocol(protocol);
    tracing.mutable_collector()->set_hostname("collector");
    tracing.set_authority("collector:1");
    tracing.set_path("/spans");
    tracing.set_sampling_percent(percent);
    tracing.set_report(true);
    tracing.set_propagate(true);
    tracing.set_service_name("wp.shop");
    auto& header = *tracing.add_headers();
    header.set_name("x-key");
    header.set_value("secret");
    auto& tag = *tracing.add_tags();
    tag.set_name("team");
    tag.set_format("%REQ(X-TEAM)%");
    tag.set_default_value("nobody");
    return telemetry;
  }

  // One request from its head to its end; returns what of the head goes to the next hop.
  http::RequestHead request(int status = 200, Flag flag = Flag::kNone) {
    http::RequestHead head;
    head.method = "GET";
    head.scheme = "http";
    head.authority = "ratings:9080";
    head.path = "/ratings/1";
    for (const auto& [name, value] : fields) head.fields.add(name, value);
    Report report(arrival);
    report.request = &head;
    reporter.on_head(report, head);
    http::ResponseHead answer;
    answer.status = status;
    answer.fields.add("x-served-by", "ratings-v1");
    reporter.on_answer(report, answer);
    report.status = status;
    report.flag = flag;
    report.route = "rule";
    report.endpoint = "10.0.3.7:9080";
    weft::route::Destination destination;
    destination.set_hostname("ratings.shop.svc.cluster.local");
    destination.set_port(9080);
    destination.set_subset("v1");
    report.destination = &destination;
    report.duration = std::chrono::milliseconds(3);
    if (flag == Flag::kNone) report.upstream = std::chrono::milliseconds(2);
    reporter.on_request(report);
    return head;
  }
  void close() { testing::run(*loop_, reporter.close()); }

  void learn_mesh() {
    learn::StateBuilder builder("Kubernetes");
    learn::DeltaResponse response;
    response.set_type_url(std::string(learn::kAddressType));
    const auto add = [&](const std::string& name, const istio::workload::Address& address) {
      auto& resource = *response.add_resources();
      resource.set_name(name);
      resource.set_version("1");
      resource.mutable_resource()->set_type_url(std::string(learn::kAddressType));
      resource.mutable_resource()->set_value(address.SerializeAsString());
    };
    const auto workload = [&](const std::string& app, const std::string& address) {
      istio::workload::Address made;
      auto& one = *made.mutable_workload();
      one.set_uid("Kubernetes//Pod/shop/" + app);
      one.set_name(app + "-pod");
      one.set_namespace_("shop");
      one.set_service_account(app);
      one.set_workload_name(app + "-v1");
      one.set_canonical_name(app);
      one.set_canonical_revision("v1");
      one.set_cluster_id("Kubernetes");
      one.add_addresses(address);
      add(one.uid(), made);
    };
    workload("reviews", {10, 0, 2, 5});
    workload("ratings", {10, 0, 3, 7});
    istio::workload::Address service;
    service.mutable_service()->set_name("ratings");
    service.mutable_service()->set_namespace_("shop");
    service.mutable_service()->set_hostname("ratings.shop.svc.cluster.local");
    add("shop/ratings.shop.svc.cluster.local", service);
    EXPECT_THAT(builder.apply(response), IsEmpty());
    state_ = builder.publish();
  }

  std::unique_ptr<runtime::Loop> loop_ = *runtime::Loop::create_best();
  CollectorNetwork collector{*loop_};
  PooledUpstreams upstreams{*loop_, collector};
  telemetry::Registry registry;
  telemetry::LogFiles files;
  std::vector<std::string> said;
  std::shared_ptr<const Config> config_;
  std::shared_ptr<const learn::State> state_;
  RequestReporter reporter{
      *loop_, {config_, [this] { return state_; }}, registry.add_request_shard(), upstreams, 7};
  Arrival arrival = Arrival::at("shop/ratings.shop.svc.cluster.local", 9080);
  std::vector<std::pair<std::string, std::string>> fields;
};

TEST_F(RequestReports, CountWhoTalksToWhom) {
  request();
  EXPECT_THAT(
      registry.scrape(),
      ContainsRegex(
          "istio_requests_total[{]reporter=\"waypoint\",source_workload=\"reviews-v1\".*"
          "source_principal=\"spiffe://cluster.local/ns/shop/sa/reviews\".*"
          "destination_service=\"ratings.shop.svc.cluster.local\",destination_service_namespace="
          "\"shop\",destination_service_name=\"ratings\",destination_workload=\"ratings-v1\".*"
          "destination_principal=\"spiffe://cluster.local/ns/shop/sa/ratings\".*"
          "response_flags=\"-\",connection_security_policy=\"mutual_tls\"[}] 1\n"));
}

TEST_F(RequestReports, BelieveNoAddressAlone) {
  arrival.caller = SpiffeId{"cluster.local", "shop", "other"};
  request(503, Flag::kUpstreamOverflow);
  const std::string text = registry.scrape();
  EXPECT_THAT(text, ContainsRegex("istio_requests_total[{].*source_workload=\"unknown\""));
  EXPECT_THAT(text, HasSubstr("source_principal=\"spiffe://cluster.local/ns/shop/sa/other\""));
  EXPECT_THAT(text, HasSubstr("response_code=\"503\",response_flags=\"UO\""));
}

TEST_F(RequestReports, LogWhatTheFilterLetsThrough) {
  const std::filesystem::path file =
      std::filesystem::path(::testing::TempDir()) / ("access-" + std::to_string(::getpid()));
  weft::telemetry::Telemetry telemetry;
  auto& log = *telemetry.add_access_logs();
  log.set_provider("file");
  log.set_path(file);
  log.set_text(
      "%RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %UPSTREAM_CLUSTER% "
      "%RESP(X-SERVED-BY)% %ROUTE_NAME% %DOWNSTREAM_REMOTE_ADDRESS%");
  log.set_filter("response.code >= 400");
  use(telemetry);
  request();
  request(404, Flag::kNoRoute);
  close();
  const auto text = read_small_file(file);
  ASSERT_TRUE(text);
  EXPECT_EQ(*text,
            "404 NR route_not_found inbound-vip|9080|http/v1|ratings.shop.svc.cluster.local "
            "ratings-v1 rule 10.0.2.5:51000");
  EXPECT_THAT(registry.scrape(), Not(HasSubstr("istio_requests_total{")));
  std::filesystem::remove(file);
}

TEST_F(RequestReports, NameWhatCannotBeHad) {
  weft::telemetry::Telemetry telemetry;
  telemetry.add_access_logs()->set_text("%NO_SUCH%");
  telemetry.add_access_logs()->set_path("/no/such/folder/log");
  auto& filtered = *telemetry.add_access_logs();
  filtered.set_provider("third");
  filtered.set_path("/dev/null");
  filtered.set_filter("bogus");
  use(telemetry);
  EXPECT_THAT(said, ElementsAre(HasSubstr("no such operator"), HasSubstr("/no/such/folder/log"),
                                HasSubstr("third: filter, which filters nothing")));
}

TEST_F(RequestReports, SendSpansToZipkin) {
  use(traced(Tracing::ZIPKIN));
  fields = {{"x-team", "blue"}, {"b3", "0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-1"}};
  const http::RequestHead sent = request();
  EXPECT_EQ(sent.fields.get("x-b3-traceid"), "0af7651916cd43dd8448eb211c80319c");
  EXPECT_EQ(sent.fields.get("x-b3-parentspanid"), "b7ad6b7169203331");
  EXPECT_EQ(sent.fields.get("x-b3-sampled"), "1");
  EXPECT_EQ(sent.fields.find("traceparent"), nullptr);
  fields.clear();
  request(500);
  close();
  ASSERT_THAT(collector.posted, SizeIs(1));
  const auto& posted = collector.posted.front();
  EXPECT_EQ(posted.line, "POST /spans");
  EXPECT_EQ(posted.type, "application/json");
  EXPECT_EQ(posted.key, "secret");
  simdjson::dom::parser parser;
  const simdjson::dom::array spans = parser.parse(posted.body);
  ASSERT_EQ(spans.size(), 2U);
  EXPECT_EQ(std::string_view(spans.at(0)["traceId"]), "0af7651916cd43dd8448eb211c80319c");
  EXPECT_EQ(std::string_view(spans.at(0)["parentId"]), "b7ad6b7169203331");
  EXPECT_EQ(std::string_view(spans.at(0)["id"]), sent.fields.get("x-b3-spanid"));
  EXPECT_EQ(std::string_view(spans.at(0)["tags"]["team"]), "blue");
  EXPECT_EQ(std::string_view(spans.at(1)["tags"]["team"]), "nobody");
  EXPECT_EQ(std::string_view(spans.at(1)["tags"]["error"]), "true");
  EXPECT_EQ(reporter.exporter().sent(), 2U);
}

TEST_F(RequestReports, SendSpansByOtlpOverHttp) {
  use(traced(Tracing::OTLP_HTTP));
  const http::RequestHead sent = request();
  EXPECT_THAT(std::string(sent.fields.get("traceparent")),
              ContainsRegex("^00-[0-9a-f]{32}-[0-9a-f]{16}-01$"));
  close();
  ASSERT_THAT(collector.posted, SizeIs(1));
  EXPECT_EQ(collector.posted.front().type, "application/x-protobuf");
  weft::otlp::ExportTraceServiceRequest request;
  ASSERT_TRUE(request.ParseFromString(collector.posted.front().body));
  EXPECT_EQ(request.resource_spans(0).scope_spans(0).spans_size(), 1);
}

TEST_F(RequestReports, SendSpansByOtlpOverGrpc) {
  collector.is_http2 = true;
  use(traced(Tracing::OTLP_GRPC));
  request();
  close();
  ASSERT_THAT(collector.posted, SizeIs(1));
  const auto& posted = collector.posted.front();
  EXPECT_EQ(posted.line, "POST /opentelemetry.proto.collector.trace.v1.TraceService/Export");
  EXPECT_EQ(posted.type, "application/grpc");
  ASSERT_GT(posted.body.size(), 5U);
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(posted.body[i]); };
  EXPECT_EQ(byte(0), 0);
  EXPECT_EQ((byte(1) << 24U) + (byte(2) << 16U) + (byte(3) << 8U) + byte(4),
            posted.body.size() - 5);
  weft::otlp::ExportTraceServiceRequest message;
  ASSERT_TRUE(message.ParseFromString(posted.body.substr(5)));
  EXPECT_EQ(message.resource_spans(0).resource().attributes(0).value().string_value(), "wp.shop");
  EXPECT_EQ(reporter.exporter().sent(), 1U);
}

TEST_F(RequestReports, LoseSpansWhenTheCollectorRefuses) {
  collector.is_http2 = true;
  collector.grpc_status = "14";
  use(traced(Tracing::OTLP_GRPC));
  request();
  close();
  EXPECT_EQ(reporter.exporter().dropped(), 1U);
  EXPECT_EQ(reporter.exporter().sent(), 0U);
}

TEST_F(RequestReports, LoseSpansWhileTheCollectorIsAway) {
  collector.is_away = true;
  use(traced(Tracing::ZIPKIN));
  for (size_t i = 0; i < SpanExporter::kWaitingMax + 5; ++i) request();
  close();
  EXPECT_EQ(reporter.exporter().dropped(), SpanExporter::kWaitingMax + 5);
}

TEST_F(RequestReports, SampleAsTheyAreTold) {
  use(traced(Tracing::OTLP_HTTP, 0));
  const http::RequestHead sent = request();
  EXPECT_TRUE(sent.fields.get("traceparent").ends_with("-00"));
  // Somebody before has decided.
  fields = {{"traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}};
  EXPECT_TRUE(request().fields.get("traceparent").ends_with("-01"));
  close();
  ASSERT_THAT(collector.posted, SizeIs(1));
  EXPECT_EQ(reporter.exporter().sent(), 1U);
}

TEST_F(RequestReports, LeaveHeadersAloneWhereToldTo) {
  auto telemetry = traced(Tracing::OTLP_HTTP);
  telemetry.mutable_tracing()->set_propagate(false);
  telemetry.mutable_tracing()->set_report(false);
  use(telemetry);
  EXPECT_TRUE(request().fields.empty());
  close();
  EXPECT_THAT(collector.posted, IsEmpty());
}

}  // namespace
}  // namespace weft::waypoint
