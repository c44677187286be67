#include "ztunnel/http/grpc_client.h"

#include "proto/ca.pb.h"
#include "proto/xds.pb.h"
#include "tests/support/run_task.h"
#include "tests/support/test_authority.h"
#include "tests/support/transports.h"
#include "tests/unit/ztunnel/http/grpc/grpc_server.h"
#include "tests/unit/ztunnel/http/h2/h2_pair.h"
#include "ztunnel/runtime/socket.h"
#include "ztunnel/tls/tls_stream.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace weft::http {
namespace {

using namespace std::chrono_literals;
using envoy::service::discovery::v3::DeltaDiscoveryRequest;
using envoy::service::discovery::v3::DeltaDiscoveryResponse;
using istio::v1::auth::IstioCertificateRequest;
using istio::v1::auth::IstioCertificateResponse;
using runtime::Task;
using ::testing::ElementsAre;
using testing::GrpcServer;
using ::testing::HasSubstr;
using testing::Transport;

constexpr std::string_view kCreate = "/istio.v1.auth.IstioCertificateService/CreateCertificate";
constexpr std::string_view kDelta =
    "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";

using ChannelPtr = std::unique_ptr<GrpcChannel>;

class GrpcClientTest : public ::testing::TestWithParam<Transport> {
 public:
  void SetUp() override {
    Result<std::unique_ptr<runtime::Loop>> made = testing::make_loop(GetParam());
    if (!made) {
      GTEST_SKIP() << "no " << testing::to_string(GetParam()) << ": " << made.error().to_string();
    }
    loop = std::move(*made);
  }
  void TearDown() override {
    if (loop) EXPECT_EQ(loop->buffers().in_use(), 0U);
  }
  Task<Result<std::unique_ptr<runtime::SocketStream>>> dial(const GrpcServer& server) {
    const SocketAddress address{*IpAddress::parse("127.0.0.1"),
                                static_cast<uint16_t>(server.port())};
    return runtime::dial(*loop, address, {});
  }
  Task<ChannelPtr> open(const GrpcServer& server) {
    auto transport = co_await dial(server);
    EXPECT_TRUE(transport.has_value());
    Result<ChannelPtr> channel =
        co_await GrpcChannel::open(*loop, std::move(*transport), "control.test");
    EXPECT_TRUE(channel.has_value());
    co_return std::move(*channel);
  }
  void run(Task<void> task) { testing::run(*loop, std::move(task)); }

  std::unique_ptr<runtime::Loop> loop;
};

Task<Result<IstioCertificateResponse>> create(GrpcChannel& channel, std::string csr,
                                              std::vector<Header> metadata = {},
                                              std::chrono::milliseconds timeout = 20s) {
  IstioCertificateRequest request;
  request.set_csr(std::move(csr));
  const std::string answer = CO_TRY(co_await channel.call(std::string(kCreate), std::move(metadata),
                                                          request.SerializeAsString(), timeout));
  IstioCertificateResponse response;
  EXPECT_TRUE(response.ParseFromString(answer));
  co_return response;
}

Task<void> unary(GrpcClientTest& test) {
  GrpcServer server;
  const ChannelPtr channel = co_await test.open(server);
  Result<IstioCertificateResponse> answer =
      co_await create(*channel, "a csr", {{"authorization", "Bearer token"}});
  EXPECT_TRUE(answer.has_value()) << answer.error().to_string();
  EXPECT_THAT(answer->cert_chain(), ElementsAre("Bearer token", "a csr"));
  // Larger than any window; and empty.
  const std::string large(9U << 20, 'c');
  answer = co_await create(*channel, large);
  EXPECT_TRUE(answer.has_value()) << answer.error().to_string();
  EXPECT_TRUE(answer && answer->cert_chain(0) == large);
  answer = co_await create(*channel, "");
  EXPECT_THAT(answer->cert_chain(), ElementsAre(""));
  co_await channel->close();
}
TEST_P(GrpcClientTest, CallsAndIsAnswered) { run(unary(*this)); }

Task<void> unary_errors(GrpcClientTest& test) {
  GrpcServer server;
  const ChannelPtr channel = co_await test.open(server);
  const Result<IstioCertificateResponse> denied = co_await create(*channel, "deny");
  EXPECT_EQ(denied.error().code, Code::kRefused);
  EXPECT_EQ(denied.error().message, "PERMISSION_DENIED: not \"you\", 100% sure \xe2\x82\xac");
  EXPECT_EQ((co_await create(*channel, "later")).error().code, Code::kUnavailable);
  const Result<std::string> unknown = co_await channel->call("/no.such/Method", {}, "", 5s);
  EXPECT_EQ(unknown.error().code, Code::kUnsupported);
  EXPECT_THAT(unknown.error().message, HasSubstr("UNIMPLEMENTED"));
  const Result<IstioCertificateResponse> bad =
      co_await create(*channel, "x", {{"authorization", "two\r\nlines"}});
  EXPECT_EQ(bad.error().code, Code::kInvalid);
  // The channel is as good as before.
  EXPECT_TRUE((co_await create(*channel, "x")).has_value());
  co_await channel->close();
}
TEST_P(GrpcClientTest, AStatusIsAnErrorWithItsMessage) { run(unary_errors(*this)); }

Task<void> unary_timeout(GrpcClientTest& test) {
  GrpcServer server;
  const ChannelPtr channel = co_await test.open(server);
  const Result<IstioCertificateResponse> late = co_await create(*channel, "wait", {}, 50ms);
  EXPECT_EQ(late.error().code, Code::kTimeout) << late.error().to_string();
  EXPECT_TRUE((co_await create(*channel, "x")).has_value());
  co_await channel->close();
}
TEST_P(GrpcClientTest, ACallEndsAtItsTimeout) { run(unary_timeout(*this)); }

Task<void> call_one(GrpcChannel& channel, std::string csr) {
  const Result<IstioCertificateResponse> answer = co_await create(channel, csr);
  EXPECT_TRUE(answer.has_value());
  EXPECT_THAT(answer->cert_chain(), ElementsAre(csr));
}
Task<void> concurrent(GrpcClientTest& test) {
  GrpcServer server;
  const ChannelPtr channel = co_await test.open(server);
  runtime::TaskScope calls;
  for (int i = 0; i < 200; ++i) calls.spawn(call_one(*channel, "csr " + std::to_string(i)));
  co_await calls.join();
  co_await channel->close();
}
TEST_P(GrpcClientTest, ManyCallsShareAChannel) { run(concurrent(*this)); }

Task<Result<DeltaDiscoveryResponse>> exchange(GrpcStream& stream, std::string type,
                                              std::string nonce) {
  DeltaDiscoveryRequest request;
  request.set_type_url(std::move(type));
  request.set_response_nonce(std::move(nonce));
  CO_TRY(co_await stream.send(request.SerializeAsString()));
  const std::string answer = CO_TRY(co_await stream.receive());
  DeltaDiscoveryResponse response;
  EXPECT_TRUE(response.ParseFromString(answer));
  co_return response;
}

Task<void> streaming(GrpcClientTest& test) {
  GrpcServer server;
  const ChannelPtr channel = co_await test.open(server);
  std::unique_ptr<GrpcStream> stream =
      std::move(*co_await channel->open_stream(std::string(kDelta), {}));
  for (int i = 0; i < 100; ++i) {
    const Result<DeltaDiscoveryResponse> answer =
        co_await exchange(*stream, "type", std::to_string(i));
    EXPECT_TRUE(answer && answer->nonce() == std::to_string(i));
  }
  const Result<DeltaDiscoveryResponse> big = co_await exchange(*stream, "big", "");
  EXPECT_TRUE(big.has_value()) << big.error().to_string();
  EXPECT_TRUE(big && big->resources(0).resource().value() == std::string(20U << 20, 'r'));
  EXPECT_EQ((co_await exchange(*stream, "end", "")).error().code, Code::kClosed);
  EXPECT_EQ((co_await stream->receive()).error().code, Code::kClosed);

  stream = std::move(*co_await channel->open_stream(std::string(kDelta), {}));
  const Result<DeltaDiscoveryResponse> failed = co_await exchange(*stream, "fail", "");
  EXPECT_EQ(failed.error().code, Code::kLimit);
  EXPECT_EQ(failed.error().message, "RESOURCE_EXHAUSTED: too much");

  stream = std::move(*co_await channel->open_stream(std::string(kDelta), {}));
  EXPECT_TRUE((co_await exchange(*stream, "type", "")).has_value());
  stream->abort();
  EXPECT_EQ((co_await stream->receive()).error().code, Code::kCancelled);
  stream.reset();
  co_await channel->close();
}
TEST_P(GrpcClientTest, StreamsMessagesBothWays) { run(streaming(*this)); }

Task<void> server_goes(GrpcClientTest& test) {
  GrpcServer server;
  const ChannelPtr channel = co_await test.open(server);
  std::unique_ptr<GrpcStream> stream =
      std::move(*co_await channel->open_stream(std::string(kDelta), {}));
  EXPECT_TRUE((co_await exchange(*stream, "type", "")).has_value());
  server.shut_down();
  EXPECT_FALSE((co_await stream->receive()).has_value());
  EXPECT_FALSE((co_await create(*channel, "x")).has_value());
  stream.reset();
  co_await channel->close();
}
TEST_P(GrpcClientTest, AServerThatGoesFailsItsCalls) { run(server_goes(*this)); }

Task<void> aborted(GrpcClientTest& test) {
  GrpcServer server;
  const ChannelPtr channel = co_await test.open(server);
  std::unique_ptr<GrpcStream> stream =
      std::move(*co_await channel->open_stream(std::string(kDelta), {}));
  EXPECT_TRUE((co_await exchange(*stream, "type", "")).has_value());
  channel->abort();
  EXPECT_FALSE((co_await stream->receive()).has_value());
  EXPECT_FALSE((co_await create(*channel, "x")).has_value());
  stream.reset();
  co_await channel->close();
}
TEST_P(GrpcClientTest, AnAbortBreaksEverything) { run(aborted(*this)); }

Task<void> over_tls(GrpcClientTest& test) {
  const testing::TestAuthority authority("cluster.local");
  testing::LeafOptions options;
  options.dns_names = {"control.test"};
  const testing::Issued issued = authority.issue_pem("", options);
  GrpcServer server(issued.certificate_pem, issued.key_pem);
  auto transport = co_await test.dial(server);
  auto context = tls::Context::make_client(authority.root_pem());
  auto tls = co_await tls::connect_control(*test.loop, std::move(*transport), std::move(*context),
                                           "control.test");
  EXPECT_TRUE(tls.has_value()) << tls.error().to_string();
  const ChannelPtr channel =
      std::move(*co_await GrpcChannel::open(*test.loop, std::move(*tls), "control.test"));
  EXPECT_TRUE((co_await create(*channel, std::string(3U << 20, 'c'))).has_value());
  co_await channel->close();
}
TEST_P(GrpcClientTest, SpeaksOverTls) { run(over_tls(*this)); }

// What is no gRPC server at all.
Task<void> answer_as_proxy(std::unique_ptr<H2Stream> stream, runtime::Loop& loop) {
  EXPECT_TRUE(stream->respond({{":status", "502"}, {"content-type", "text/html"}}, false));
  static_cast<void>(co_await stream->write(loop.buffers().copy_of("<html>bad gateway</html>")));
  static_cast<void>(co_await stream->shutdown_write());
}
Task<void> not_grpc(GrpcClientTest& test) {
  runtime::Loop& loop = *test.loop;
  testing::StreamPair ends = testing::make_pair(loop, test.GetParam());
  runtime::TaskScope tasks;
  H2Options options;
  options.role = H2Role::kServer;
  H2Connection server(loop, std::move(ends.second), options, [&](std::unique_ptr<H2Stream> stream) {
    tasks.spawn(answer_as_proxy(std::move(stream), loop));
  });
  std::optional<Result<void>> end;
  tasks.spawn(testing::store(server.run(), end));
  const ChannelPtr channel =
      std::move(*co_await GrpcChannel::open(loop, std::move(ends.first), "control.test"));
  const Result<IstioCertificateResponse> answer = co_await create(*channel, "x");
  EXPECT_EQ(answer.error().code, Code::kUnavailable);
  EXPECT_THAT(answer.error().message, HasSubstr("502"));
  co_await channel->close();
  co_await tasks.join();
}
TEST_P(GrpcClientTest, AProxysErrorPageIsNoMessage) { run(not_grpc(*this)); }

INSTANTIATE_TEST_SUITE_P(Over, GrpcClientTest,
                         ::testing::Values(Transport::kEpollSockets, Transport::kUringSockets),
                         [](const auto& info) { return testing::to_string(info.param); });

}  // namespace
}  // namespace weft::http
