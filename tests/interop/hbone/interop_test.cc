#include "tests/interop/hbone/python_peer.h"
#include "tests/support/run_task.h"
#include "tests/support/test_authority.h"
#include "tests/support/transports.h"
#include "ztunnel/hbone/pool.h"
#include "ztunnel/hbone/server.h"
#include "ztunnel/http/h2_session.h"
#include "ztunnel/runtime/socket.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

// Our HBONE against one made of other libraries (peer.py), both ways, over TCP and real
// certificates. What python saw is compared as the JSON it prints, with sorted keys.

namespace weft::hbone {
namespace {

using namespace std::chrono_literals;
using runtime::ByteStream;
using runtime::SocketStream;
using runtime::Task;
using ::testing::AllOf;
using testing::both;
using ::testing::HasSubstr;
using ::testing::Not;
using testing::PythonPeer;
using testing::read_all;
using testing::read_some;
using testing::send;
using testing::send_and_end;
using testing::Transport;

const std::string kOurs = "spiffe://cluster.local/ns/ours/sa/weft";
const std::string kTheirs = "spiffe://cluster.local/ns/theirs/sa/python";

using Opened = std::expected<Tunnelled, OpenError>;

class HboneInteropTest : public ::testing::TestWithParam<Transport> {
 public:
  void SetUp() override {
    if (const std::string why = testing::why_no_python_peer(); !why.empty()) GTEST_SKIP() << why;
    Result<std::unique_ptr<runtime::Loop>> made = testing::make_loop(GetParam());
    if (!made) {
      GTEST_SKIP() << "no " << testing::to_string(GetParam()) << ": " << made.error().to_string();
    }
    loop = std::move(*made);
    context = *tls::Context::make(authority.issue(kOurs));
  }
  void TearDown() override {
    if (loop) EXPECT_EQ(loop->buffers().in_use(), 0U);
  }
  void run(Task<void> task) { testing::run(*loop, std::move(task)); }

  testing::TestAuthority authority{"cluster.local"};
  std::unique_ptr<runtime::Loop> loop;
  std::shared_ptr<tls::Context> context;
};

// ---- We connect, python serves.

Task<Result<std::unique_ptr<ByteStream>>> dial(runtime::Loop& loop, SocketAddress to) {
  std::unique_ptr<SocketStream> stream = CO_TRY(co_await runtime::dial(loop, to, {}));
  co_return std::unique_ptr<ByteStream>(std::move(stream));
}

struct Client {
  explicit Client(HboneInteropTest& on)
      : test(on),
        python(on.authority, kTheirs, "serve"),
        pool(*on.loop, [&on](SocketAddress to) { return dial(*on.loop, to); }) {}

  Task<void> start() {
    const std::string said = co_await python.output_with(*test.loop, "}\n");
    const size_t at = said.find("\"port\": ");
    EXPECT_NE(at, std::string::npos) << said;
    key.source = *SpiffeId::parse(kOurs);
    key.peers = {*SpiffeId::parse(kTheirs)};
    key.address =
        *SocketAddress::parse("127.0.0.1:" + std::to_string(std::atoi(said.c_str() + at + 8)));
  }
  Task<Opened> open(std::string authority) {
    ConnectRequest request;
    request.authority = std::move(authority);
    return pool.open(key, test.context, std::move(request));
  }
  Task<std::string> output_with(std::string text) {
    return python.output_with(*test.loop, std::move(text));
  }

  HboneInteropTest& test;
  PythonPeer python;
  Pool pool;
  TunnelKey key;
};

Task<void> facts(HboneInteropTest& test) {
  Client client(test);
  co_await client.start();
  const ConnectRequest request{"[fd00::7]:7", "k8s.namespace.name=ours,service.name=weft",
                               "for=\"10.1.1.1:5\";host=web.ns.svc.cluster.local",
                               "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"};
  Opened opened = co_await client.pool.open(client.key, test.context, request);
  EXPECT_TRUE(opened.has_value()) << opened.error().error.to_string();
  EXPECT_EQ(opened->peer.to_string(), kTheirs);
  EXPECT_EQ(opened->baggage, "service.name=python");
  Opened bare = co_await client.open("10.0.0.1:7");
  EXPECT_TRUE(bare.has_value());
  opened->stream.reset();
  bare->stream.reset();
  co_await client.pool.close(5s);
  const std::string seen = co_await client.output_with("\"event\": \"end\"");
  EXPECT_THAT(seen,
              AllOf(HasSubstr("\"alpn\": \"h2\""), HasSubstr("\"version\": \"TLSv1.3\""),
                    HasSubstr("\"server_names\": []"),
                    HasSubstr("\"identities\": [\"" + kOurs + "\"]"), HasSubstr("AES_256_GCM")));
  // RFC 9113, 6.5.2: push off, windows, frames, header lists. Not what only a server says.
  EXPECT_THAT(seen, HasSubstr("\"event\": \"settings\", \"values\": {\"2\": 0, \"4\": 262144, "
                              "\"5\": 1048576, \"6\": 16384}"));
  EXPECT_THAT(seen, HasSubstr("\"delta\": " + std::to_string((16 << 20) - 65535)));
  EXPECT_THAT(seen, HasSubstr("[[\":method\", \"CONNECT\"], [\":authority\", \"[fd00::7]:7\"], "
                              "[\"baggage\", \"k8s.namespace.name=ours,service.name=weft\"], "
                              "[\"forwarded\", \"for=\\\"10.1.1.1:5\\\";host=web.ns.svc.cluster."
                              "local\"], [\"traceparent\", \"00-0af7651916cd43dd8448eb211c80319c-"
                              "b7ad6b7169203331-00\"]], \"wrong\": []"));
  EXPECT_THAT(seen, HasSubstr("[[\":method\", \"CONNECT\"], [\":authority\", \"10.0.0.1:7\"]], "
                              "\"wrong\": []"));
  EXPECT_THAT(seen, HasSubstr("{\"error\": 0, \"event\": \"goaway\"}"));
  EXPECT_THAT(seen, Not(HasSubstr("broken")));
  EXPECT_THAT(seen, HasSubstr("\"resumed\": false"));
  // Neither priorities nor padding, nor a kind of frame that the protocol does not need.
  EXPECT_THAT(seen, HasSubstr("\"frames\": [\"GOAWAY 0\", \"HEADERS 4\", \"RST_STREAM 0\", "
                              "\"SETTINGS 0\", \"SETTINGS 1\", \"WINDOW_UPDATE 0\"]"));
}
TEST_P(HboneInteropTest, PythonSeesExactlyTheProtocol) { run(facts(*this)); }

Task<void> carry(Client& client, std::string authority, size_t size) {
  Opened opened = co_await client.open(std::move(authority));
  EXPECT_TRUE(opened.has_value());
  std::string text(size, '\0');
  for (size_t i = 0; i < size; ++i) text[i] = static_cast<char>(i * 7 + (i >> 9U) + size);
  auto [wrote, got] = co_await both(send_and_end(*client.test.loop, *opened->stream, text),
                                    read_all(*opened->stream));
  EXPECT_TRUE(wrote && got && *got == text) << size;
}

Task<void> bytes(HboneInteropTest& test) {
  Client client(test);
  co_await client.start();
  runtime::TaskScope streams;
  for (size_t i = 0; i < 30; ++i) {
    streams.spawn(carry(client, "10.0.0.1:7", i % 15 == 14 ? 6U << 20 : i * 9973));
  }
  co_await streams.join();
  EXPECT_EQ(client.pool.tunnels(), 1U);
  co_await client.pool.close(5s);
  const std::string seen = co_await client.output_with("\"event\": \"end\"");
  // One DATA frame is one record.
  EXPECT_THAT(seen,
              HasSubstr("\"largest_data\": " + std::to_string(http::H2Session::kDataBytesMax)));
}
TEST_P(HboneInteropTest, BytesToPythonAndBack) { run(bytes(*this)); }

Task<void> ends(HboneInteropTest& test) {
  Client client(test);
  co_await client.start();
  // Python ends first; what we send after that arrives.
  Opened opened = co_await client.open("10.0.0.1:9");
  EXPECT_EQ(co_await read_all(*opened->stream), "the server ends first");
  EXPECT_TRUE((co_await send_and_end(*test.loop, *opened->stream, std::string(777, 'x'))));
  co_await client.output_with("{\"bytes\": 777, \"event\": \"stream ended\", \"port\": 9}");
  // We end first; the answer still comes.
  opened = co_await client.open("10.0.0.1:12");
  EXPECT_TRUE((co_await send_and_end(*test.loop, *opened->stream, std::string(300'000, 'x'))));
  EXPECT_EQ(co_await read_all(*opened->stream), "300000");
  // Python resets.
  opened = co_await client.open("10.0.0.1:8");
  EXPECT_TRUE((co_await send(*test.loop, *opened->stream, "x")).has_value());
  EXPECT_EQ((co_await opened->stream->read()).error().code, Code::kReset);
  // We reset.
  opened = co_await client.open("10.0.0.1:7");
  EXPECT_TRUE((co_await send(*test.loop, *opened->stream, "x")).has_value());
  EXPECT_EQ(co_await read_some(*opened->stream, 1), "x");
  opened->stream->abort();
  co_await client.output_with("{\"error\": 8, \"event\": \"reset\", \"port\": 7}");
  // Python refuses.
  const Opened denied = co_await client.open("10.0.0.1:401");
  EXPECT_EQ(denied.error().flag, Flag::kDeny);
  EXPECT_EQ(denied.error().status, 401);
  EXPECT_EQ(client.pool.tunnels(), 1U);
  opened->stream.reset();
  co_await client.pool.close(5s);
}
TEST_P(HboneInteropTest, PythonEndsResetsAndRefuses) { run(ends(*this)); }

Task<void> goes(HboneInteropTest& test) {
  Client client(test);
  co_await client.start();
  // After its GOAWAY the stream goes on, the next gets another tunnel.
  Opened kept = co_await client.open("10.0.0.1:10");
  EXPECT_TRUE((co_await send(*test.loop, *kept->stream, "hello")).has_value());
  EXPECT_EQ(co_await read_some(*kept->stream, 5), "hello");
  Opened next = co_await client.open("10.0.0.1:7");
  EXPECT_TRUE(next.has_value());
  EXPECT_EQ(client.pool.tunnels(), 2U);
  EXPECT_TRUE((co_await send_and_end(*test.loop, *kept->stream, " again")).has_value());
  EXPECT_EQ(co_await read_all(*kept->stream), " again");
  // It vanishes under a stream.
  const Opened broken = co_await client.open("10.0.0.1:11");
  EXPECT_TRUE(broken.has_value());
  EXPECT_EQ((co_await broken->stream->read()).error().code, Code::kReset);
  EXPECT_EQ((co_await next->stream->read()).error().code, Code::kReset);
  co_await client.pool.close(5s);
}
TEST_P(HboneInteropTest, PythonGoesAway) { run(goes(*this)); }

Task<void> pings(HboneInteropTest& test) {
  Client client(test);
  co_await client.start();
  PoolTimes times = Pool::kTimes;
  times.ping_every = 20ms;
  Pool eager(*test.loop, [&test](SocketAddress to) { return dial(*test.loop, to); }, times);
  Opened opened = co_await eager.open(client.key, test.context, {.authority = "10.0.0.1:13"});
  EXPECT_TRUE(opened.has_value());
  // Python's PING is answered with its own bytes; ours are eight bytes, again and again.
  co_await client.output_with("{\"event\": \"ping answered\", \"same\": true}");
  const std::string ping = "{\"bytes\": 8, \"event\": \"ping\"}\n";
  co_await client.output_with(ping + ping + ping);
  EXPECT_TRUE((co_await send_and_end(*test.loop, *opened->stream, "still here")));
  EXPECT_EQ(co_await read_all(*opened->stream), "still here");
  opened->stream.reset();
  co_await eager.close(5s);
  co_await client.pool.close(0s);
}
TEST_P(HboneInteropTest, PingsGoBothWays) { run(pings(*this)); }

Task<void> long_answers(HboneInteropTest& test) {
  Client client(test);
  co_await client.start();
  Opened long_enough = co_await client.open("10.0.0.1:15");
  EXPECT_TRUE(long_enough.has_value());
  // Above the 16 KiB that our SETTINGS allow; the tunnel's other streams go on.
  const Opened too_long = co_await client.open("10.0.0.1:14");
  EXPECT_FALSE(too_long.has_value());
  EXPECT_TRUE((co_await send_and_end(*test.loop, *long_enough->stream, "still here")));
  EXPECT_EQ(co_await read_all(*long_enough->stream), "still here");
  EXPECT_EQ(client.pool.tunnels(), 1U);
  long_enough->stream.reset();
  co_await client.pool.close(5s);
}
TEST_P(HboneInteropTest, AnswersHaveALimit) { run(long_answers(*this)); }

Task<void> impostor(HboneInteropTest& test) {
  Client client(test);
  co_await client.start();
  client.key.peers = {*SpiffeId::parse("spiffe://cluster.local/ns/theirs/sa/another")};
  const Opened opened = co_await client.open("10.0.0.1:7");
  EXPECT_EQ(opened.error().flag, Flag::kTlsFailure);
  EXPECT_THAT(opened.error().error.to_string(), HasSubstr(kTheirs));
  co_await client.pool.close(0s);
}
TEST_P(HboneInteropTest, PythonWithAnotherIdentityIsRefused) { run(impostor(*this)); }

// ---- Python connects, we serve.

struct Server {
  explicit Server(HboneInteropTest& on)
      : test(on),
        listener(*runtime::listen_in(-1, *SocketAddress::parse("127.0.0.1:0"), 16)),
        acceptor(*on.loop, listener.get(), [this](Fd socket) { return serve(std::move(socket)); }) {
    tasks.spawn(acceptor.run());
  }

  Task<void> serve(Fd socket) {
    auto transport = std::make_unique<SocketStream>(*test.loop, std::move(socket));
    auto tls = co_await tls::accept_mesh(*test.loop, std::move(transport), test.context);
    EXPECT_TRUE(tls.has_value()) << tls.error().to_string();
    if (!tls) co_return;
    const auto made = ServerConnection::make(*test.loop, std::move(*tls), handler);
    connection = made.get();
    co_await made->run();
    connection = nullptr;
  }
  // What python says of its visit.
  Task<std::string> visit(std::string what) {
    const std::string port = std::to_string(runtime::local_address(listener.get())->port);
    PythonPeer python(test.authority, kTheirs, "connect", {"--port", port, std::move(what)});
    std::string said = co_await python.whole_output(*test.loop);
    acceptor.stop();
    co_await tasks.join();
    while (connection != nullptr) co_await test.loop->sleep(1ms);
    co_return said;
  }

  HboneInteropTest& test;
  Fd listener;
  runtime::Acceptor acceptor;
  runtime::TaskScope tasks;
  ServerConnection::Handler handler;
  ServerConnection* connection = nullptr;
};

Task<void> echo(std::unique_ptr<IncomingConnect> incoming) {
  EXPECT_EQ(incoming->peer().to_string(), kTheirs);
  EXPECT_EQ(incoming->request().authority, "10.0.0.1:80");
  auto stream = co_await incoming->accept("service.name=weft");
  if (!stream) co_return;
  while (true) {
    Result<runtime::Buffer> bytes = co_await (*stream)->read();
    if (!bytes) co_return;
    if (bytes->empty()) break;
    if (!co_await (*stream)->write(std::move(*bytes))) co_return;
  }
  static_cast<void>(co_await (*stream)->shutdown_write());
}

Task<void> echoes(HboneInteropTest& test) {
  Server server(test);
  server.handler = echo;
  const std::string said = co_await server.visit("echo");
  EXPECT_THAT(said, HasSubstr("\"alive\": true"));
  EXPECT_THAT(said, HasSubstr("\"headers\": [[\":status\", \"200\"], [\"baggage\", "
                              "\"service.name=weft\"]]"));
  EXPECT_THAT(said, HasSubstr("\"same\": true, \"statuses\": [\"200\"]"));
  EXPECT_THAT(said, HasSubstr("\"identities\": [\"" + kOurs + "\"]"));
  EXPECT_THAT(said, HasSubstr("\"settings\": {\"3\": 200, \"4\": 262144, \"5\": 1048576, "
                              "\"6\": 65536}"));
  EXPECT_THAT(said, HasSubstr("\"alpn\": \"h2\""));
  EXPECT_THAT(said, HasSubstr("\"version\": \"TLSv1.3\""));
  // Half close is END_STREAM, without trailers.
  EXPECT_THAT(said, HasSubstr("\"DATA 1\""));
  EXPECT_THAT(said, Not(HasSubstr("HEADERS 5")));
}
TEST_P(HboneInteropTest, BytesFromPythonAndBack) { run(echoes(*this)); }

Task<void> python_resets(HboneInteropTest& test) {
  Server server(test);
  size_t ended = 0;
  server.handler = [&ended](std::unique_ptr<IncomingConnect> incoming) {
    return [](std::unique_ptr<IncomingConnect> one, size_t& count) -> Task<void> {
      co_await echo(std::move(one));
      ++count;
    }(std::move(incoming), ended);
  };
  EXPECT_THAT(co_await server.visit("reset"), HasSubstr("\"second\": \"still here\""));
  EXPECT_EQ(ended, 2U);
}
TEST_P(HboneInteropTest, PythonResetsAStream) { run(python_resets(*this)); }

Task<void> python_is_wrong(HboneInteropTest& test) {
  Server server(test);
  server.handler = [](std::unique_ptr<IncomingConnect> incoming) {
    ADD_FAILURE() << "handled: " << incoming->request().authority;
    return echo(std::move(incoming));
  };
  EXPECT_THAT(co_await server.visit("malformed"),
              HasSubstr("{\"get\": \"400\", \"no authority\": \"reset\", \"no port\": \"400\", "
                        "\"over 64 KiB\": \"reset\", \"port 0\": \"400\", \"upper case\": "
                        "\"reset\", \"with path\": \"reset\", "
                        "\"with scheme\": \"reset\"}"));
}
TEST_P(HboneInteropTest, PythonAsksForWhatIsNoConnect) { run(python_is_wrong(*this)); }

Task<void> deny(std::unique_ptr<IncomingConnect> incoming) { co_await incoming->refuse(401); }

Task<void> we_refuse(HboneInteropTest& test) {
  Server server(test);
  server.handler = deny;
  EXPECT_THAT(co_await server.visit("refused"), HasSubstr("\"status\": \"401\""));
}
TEST_P(HboneInteropTest, PythonIsRefused) { run(we_refuse(*this)); }

Task<void> we_drain(HboneInteropTest& test) {
  Server server(test);
  server.handler = [&server](std::unique_ptr<IncomingConnect> incoming) {
    server.connection->drain();
    return echo(std::move(incoming));
  };
  EXPECT_THAT(
      co_await server.visit("drained"),
      HasSubstr("{\"data\": \"before and after\", \"goaways\": [[2147483647, 0], [1, 0]]}"));
}
TEST_P(HboneInteropTest, PythonIsToldToGo) { run(we_drain(*this)); }

INSTANTIATE_TEST_SUITE_P(Over, HboneInteropTest,
                         ::testing::Values(Transport::kEpollSockets, Transport::kUringSockets),
                         [](const auto& info) { return testing::to_string(info.param); });

}  // namespace
}  // namespace weft::hbone
