// The waypoint's proxy between a client and a server of HTTP, each in either version, over pipes in
// memory.

#include "ztunnel/waypoint/proxy.h"

#include "tests/unit/ztunnel/http/http1/http1_fixture.h"
#include "ztunnel/http/h2_accept.h"
#include "ztunnel/http/h2_ask.h"
#include "ztunnel/runtime/memory_pipe.h"
#include "ztunnel/waypoint/pooled_upstreams.h"

#include <gmock/gmock.h>

#include <functional>
#include <vector>

namespace weft::waypoint {
namespace {

using runtime::ByteStream;
using runtime::Task;
using ::testing::HasSubstr;
using ::testing::StartsWith;

Task<void> answer_http2(runtime::Loop& loop, std::unique_ptr<http::ServerExchange> exchange) {
  co_await http::testing::answer(loop, *exchange);
}

Task<void> serve_http1(runtime::Loop& loop, std::unique_ptr<ByteStream> stream) {
  static_cast<void>(co_await http::testing::serve(loop, std::move(stream)));
}

Task<void> serve_http2(runtime::Loop& loop, std::unique_ptr<ByteStream> stream) {
  runtime::TaskScope requests;
  http::Http2Server server(loop, std::move(stream),
                           [&](std::unique_ptr<http::ServerExchange> exchange) {
                             requests.spawn(answer_http2(loop, std::move(exchange)));
                           });
  static_cast<void>(co_await server.run());
  co_await requests.join();
}

// Says this, whatever it is asked, and ends.
Task<void> say(runtime::Loop& loop, std::unique_ptr<ByteStream> stream, std::string text) {
  static_cast<void>(co_await stream->read());
  static_cast<void>(co_await weft::testing::send_and_end(loop, *stream, text));
}

// One server; each connection to it is a pipe.
class PipeNetwork final : public Network {
 public:
  using Serve = std::function<Task<void>(std::unique_ptr<ByteStream>)>;
  weft::route::Port::Protocol speaks = weft::route::Port::HTTP1;
  Serve serve;  // none: nobody listens
  int dialled = 0;
  runtime::TaskScope serving;

  uint64_t generation() const override { return 1; }
  std::vector<Host> endpoints(const weft::route::Destination&) override {
    Host host;
    host.name = "10.0.0.1:80";
    return {host};
  }
  weft::route::Port::Protocol protocol(const weft::route::Destination&) override { return speaks; }
  const weft::route::Traffic* traffic(const weft::route::Destination&) override { return nullptr; }
  Task<Result<std::unique_ptr<ByteStream>>> dial(const Host&, const weft::route::Traffic&,
                                                 std::chrono::milliseconds) override {
    ++dialled;
    if (!serve) co_return fail(Code::kRefused, "nobody listens");
    auto [ours, theirs] = runtime::make_memory_pipe();
    serving.spawn(serve(std::move(theirs)));
    co_return std::move(ours);
  }
};

class Noted final : public Reporter {
 public:
  void on_request(const Report& report) override {
    seen += std::to_string(report.status) + " " + std::string(to_string(report.flag)) + ";";
  }
  std::string seen;
};

class ProxyTest : public ::testing::Test {
 public:
  void servers_speak_http1() {
    network_.serve = [this](std::unique_ptr<ByteStream> stream) {
      return serve_http1(*loop_, std::move(stream));
    };
  }
  void servers_speak_http2() {
    network_.speaks = weft::route::Port::HTTP2;
    network_.serve = [this](std::unique_ptr<ByteStream> stream) {
      return serve_http2(*loop_, std::move(stream));
    };
  }
  void servers_say(std::string text) {
    network_.serve = [this, text](std::unique_ptr<ByteStream> stream) {
      return say(*loop_, std::move(stream), text);
    };
  }

  // What comes back for these bytes of a client, who then ends his side.
  std::string answer_to(std::string bytes) {
    return weft::testing::run(*loop_, exchange(std::move(bytes)));
  }

 protected:
  Task<std::string> exchange(std::string bytes) {
    std::string got;
    {
      PooledUpstreams upstreams(*loop_, network_);
      Proxy proxy(*loop_, config_, upstreams, &noted_);
      if (drains_) proxy.drain();
      auto [client, server] = runtime::make_memory_pipe();
      runtime::TaskScope serving;
      serving.spawn(proxy.serve(std::move(server), Arrival::at("ns/app", 80)));
      Result<void> sent = co_await weft::testing::send(*loop_, *client, bytes);
      std::string all;
      while (true) {
        Result<runtime::Buffer> more = co_await client->read();
        if (!more || more->empty()) break;
        got += more->text();
        if (got.ends_with(until_)) break;
      }
      static_cast<void>(co_await client->shutdown_write());
      co_await serving.join();
    }
    co_await network_.serving.join();
    co_return got;
  }

  std::unique_ptr<runtime::Loop> loop_ = *runtime::Loop::create_best();
  Proxy::CurrentConfig config_;
  PipeNetwork network_;
  Noted noted_;
  std::string until_ = "}";
  bool drains_ = false;
};

constexpr std::string_view kGet = "GET /length HTTP/1.1\r\nHost: a\r\nx-request-id: 1\r\n\r\n";

TEST_F(ProxyTest, PassesARequestOn) {
  servers_speak_http1();
  const std::string got = answer_to(std::string(kGet));
  EXPECT_THAT(got, StartsWith("HTTP/1.1 200 OK\r\n"));
  EXPECT_THAT(got, HasSubstr("x-envoy-upstream-service-time: "));
  EXPECT_THAT(got, HasSubstr("GET a/length x-request-id=1 x-forwarded-proto=http"));
  EXPECT_EQ(noted_.seen, "200 -;");
}

TEST_F(ProxyTest, PassesBodiesAndTrailersFromOneVersionToTheOther) {
  servers_speak_http2();
  until_ = "0\r\nx-sum: 7\r\n\r\n";
  const std::string got = answer_to(
      "POST /trailers HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nx-request-id: 1\r\n\r\n"
      "4\r\nbody\r\n0\r\nX-End: 1\r\n\r\n");
  EXPECT_THAT(got, HasSubstr("{body [x-end=1]}"));
  EXPECT_THAT(got, HasSubstr("0\r\nx-sum: 7\r\n\r\n"));
}

TEST_F(ProxyTest, UsesAConnectionAgain) {
  servers_speak_http1();
  until_ = "HTTP/1.1 204 No Content\r\n";
  static_cast<void>(answer_to(std::string(kGet) + std::string(kGet) +
                              "GET /none HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"));
  EXPECT_EQ(network_.dialled, 1);
  EXPECT_EQ(noted_.seen, "200 -;200 -;204 -;");
}

TEST_F(ProxyTest, SaysThatNobodyListens) {
  until_ = "listens";
  EXPECT_THAT(answer_to(std::string(kGet)), StartsWith("HTTP/1.1 503 "));
  EXPECT_EQ(noted_.seen, "503 UF;");
}

TEST_F(ProxyTest, SaysWhatAServerDidWrong) {
  until_ = "termination";
  servers_say("");
  EXPECT_THAT(answer_to(std::string(kGet)), StartsWith("HTTP/1.1 503 "));
  until_ = "error";
  servers_say("SSH-2.0-server\r\n\r\n");
  EXPECT_THAT(answer_to(std::string(kGet)), StartsWith("HTTP/1.1 502 "));
  EXPECT_EQ(noted_.seen, "503 UC;502 UPE;");
}

TEST_F(ProxyTest, AnAnswerThatIsCutIsNotMadeWhole) {
  servers_say("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc");
  const std::string got = answer_to(std::string(kGet));
  EXPECT_THAT(got, ::testing::AnyOf(::testing::IsEmpty(), ::testing::EndsWith("\r\n\r\nabc")));
  EXPECT_EQ(noted_.seen, "200 UC;");
}

TEST_F(ProxyTest, RefusesWhatIsNoRequest) {
  servers_speak_http1();
  until_ = "coding\n";
  EXPECT_THAT(answer_to("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n"
                        "Transfer-Encoding: chunked\r\n\r\n"),
              StartsWith("HTTP/1.1 400 "));
  EXPECT_EQ(network_.dialled, 0);
  EXPECT_EQ(noted_.seen, "400 DPE;");
}

TEST_F(ProxyTest, RefusesABodyThatIsNoBody) {
  servers_speak_http1();
  until_ = "size";
  EXPECT_THAT(answer_to("POST /length HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                        "1\r\nabc\r\n"),
              StartsWith("HTTP/1.1 400 "));
  EXPECT_EQ(noted_.seen, "400 DPE;");
}

TEST_F(ProxyTest, EndsConnectionsWhenItDrains) {
  servers_speak_http1();
  drains_ = true;
  EXPECT_THAT(answer_to(std::string(kGet)), HasSubstr("connection: close\r\n"));
}

TEST_F(ProxyTest, UpgradesToAWebSocket) {
  servers_speak_http1();
  until_ = "ping";
  const std::string got = answer_to(
      "GET /upgrade HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nping");
  EXPECT_THAT(got, StartsWith("HTTP/1.1 101 "));
  EXPECT_THAT(got, ::testing::EndsWith("\r\n\r\nping"));
}

}  // namespace
}  // namespace weft::waypoint
