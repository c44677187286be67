#include "ztunnel/hbone/server.h"

#include "tests/unit/ztunnel/hbone/hbone_fixture.h"
#include "tests/unit/ztunnel/http/h2/h2_fixture.h"

namespace weft::hbone {
namespace {

using namespace std::chrono_literals;
using http::H2Connection;
using http::H2Stream;
using runtime::Buffer;
using runtime::ByteStream;
using runtime::Task;
using testing::connect_to;
using testing::Transport;

// What TLS would have proven.
class ProvenStream final : public tls::TlsStream {
 public:
  ProvenStream(std::unique_ptr<ByteStream> inner, std::optional<SpiffeId> identity)
      : inner_(std::move(inner)) {
    peer_.identity = std::move(identity);
  }
  Task<Result<Buffer>> read() override { return inner_->read(); }
  Task<Result<void>> write(Buffer bytes) override { return inner_->write(std::move(bytes)); }
  Task<Result<void>> shutdown_write() override { return inner_->shutdown_write(); }
  void abort() override { inner_->abort(); }
  const tls::Peer& peer() const override { return peer_; }

 private:
  std::unique_ptr<ByteStream> inner_;
  tls::Peer peer_;
};

class ServerTest : public testing::H2Fixture {
 public:
  // A server connection and a client that talks to it.
  void start(ServerConnection::Handler handler,
             std::optional<SpiffeId> peer = testing::identity("client")) {
    testing::StreamPair pair = ends();
    server = ServerConnection::make(
        *loop, std::make_unique<ProvenStream>(std::move(pair.second), std::move(peer)),
        std::move(handler),
        [this](const Error& error) { complaints.push_back(error.to_string()); });
    client = std::make_unique<H2Connection>(*loop, std::move(pair.first), http::H2Options{});
    tasks.spawn(server->run());
    tasks.spawn(testing::store(client->run(), client_end));
  }
  Task<void> stop() {
    client->drain();
    co_await tasks.join();
  }

  runtime::TaskScope tasks;
  std::unique_ptr<ServerConnection> server;
  std::unique_ptr<H2Connection> client;
  std::optional<Result<void>> client_end;
  std::vector<std::string> complaints;
};

ServerConnection::Handler never_called() {
  return [](std::unique_ptr<IncomingConnect> incoming) {
    ADD_FAILURE() << "handled: " << incoming->request().authority;
    return testing::accept_and_echo(std::move(incoming));
  };
}

Task<void> malformed(ServerTest& test) {
  test.start(never_called());
  const std::vector<std::vector<http::Header>> requests{
      {{":method", "GET"}, {":scheme", "https"}, {":path", "/"}, {":authority", "10.0.0.1:80"}},
      {{":method", "POST"}, {":scheme", "https"}, {":path", "/"}, {":authority", "a:1"}},
      connect_to("10.0.0.1"),
      connect_to("10.0.0.1:0"),
      connect_to("10.0.0.1:99999"),
      connect_to("300.0.0.1:80"),
      connect_to("fd00::1:80"),
      connect_to(":80"),
  };
  for (const auto& request : requests) {
    const auto stream = test.client->request(request, false);
    EXPECT_TRUE(stream.has_value());
    EXPECT_TRUE((co_await (*stream)->wait_headers()).has_value());
    EXPECT_EQ(http::find_header((*stream)->headers(), ":status"), "400");
    EXPECT_EQ(co_await testing::read_all(**stream), "");
  }
  EXPECT_EQ(test.complaints.size(), requests.size());
  EXPECT_EQ(test.complaints.front(), "HBONE: expected CONNECT, not GET");
  // Whoever goes on so is not listened to for ever.
  for (int i = 0; i < 20; ++i) {
    const auto stream = test.client->request(requests.front(), true);
    EXPECT_TRUE(stream && co_await (*stream)->wait_headers());
  }
  EXPECT_EQ(test.complaints.size(), ServerConnection::kComplaintsMax);
  co_await test.stop();
}
TEST_P(ServerTest, WhatIsNoWellFormedConnectIsAnswered400) { run(malformed(*this)); }

Task<void> unproven(ServerTest& test) {
  test.start(never_called(), std::nullopt);
  const auto stream = test.client->request(connect_to("10.0.0.1:80"), false);
  // The connection may be broken already.
  if (stream) EXPECT_FALSE((co_await (*stream)->wait_headers()).has_value());
  co_await test.stop();
}
TEST_P(ServerTest, WithoutAnIdentityNobodyIsServed) { run(unproven(*this)); }

// Handlers that take their time, whatever becomes of their stream.
struct Slow {
  size_t running = 0;
  size_t most = 0;
  runtime::Event go_on;

  Task<void> handle(std::unique_ptr<IncomingConnect> incoming) {
    most = std::max(most, ++running);
    while (!go_on.is_set()) co_await go_on.wait();
    co_await incoming->refuse(503);
    --running;
  }
};

Task<void> opened_and_reset(ServerTest& test) {
  Slow slow;
  test.start([&slow](std::unique_ptr<IncomingConnect> incoming) {
    return slow.handle(std::move(incoming));
  });
  for (int i = 0; i < 900; ++i) {
    auto stream = test.client->request(connect_to("10.0.0.1:80"), false);
    if (!stream) break;
    co_await test.turns(2);
    (*stream)->abort();
  }
  co_await test.turns();
  EXPECT_EQ(slow.most, 2 * kServerStreamsMax);
  slow.go_on.set();
  co_await test.stop();
  EXPECT_EQ(slow.running, 0U);
}
TEST_P(ServerTest, HandlersOfStreamsThatAreGoneAreBounded) { run(opened_and_reset(*this)); }

Task<void> drains(ServerTest& test) {
  test.start(testing::accept_and_echo);
  auto stream = test.client->request(connect_to("10.0.0.1:80"), false);
  EXPECT_TRUE((co_await (*stream)->wait_headers()).has_value());
  test.server->drain();
  co_await test.turns();
  EXPECT_FALSE(test.client->accepts_requests());
  const std::string text = testing::pattern(300'000, 1);
  auto [wrote, got] = co_await testing::both(testing::send_and_end(*test.loop, **stream, text),
                                             testing::read_all(**stream));
  EXPECT_TRUE(wrote && got && *got == text);
  stream->reset();
  co_await test.tasks.join();
  EXPECT_TRUE(test.client_end->has_value());
}
TEST_P(ServerTest, DrainingEndsWithTheLastStream) { run(drains(*this)); }

Task<void> aborts(ServerTest& test) {
  test.start(testing::accept_and_echo);
  auto stream = test.client->request(connect_to("10.0.0.1:80"), false);
  EXPECT_TRUE((co_await (*stream)->wait_headers()).has_value());
  test.server->abort();
  EXPECT_EQ((co_await (*stream)->read()).error().code, Code::kReset);
  stream->reset();
  co_await test.tasks.join();
}
TEST_P(ServerTest, AnAbortBreaksAllAndRunReturns) { run(aborts(*this)); }

Task<void> forget(std::unique_ptr<IncomingConnect> incoming) {
  incoming.reset();
  co_return;
}
Task<void> unanswered(ServerTest& test) {
  test.start(forget);
  auto stream = test.client->request(connect_to("10.0.0.1:80"), false);
  EXPECT_FALSE((co_await (*stream)->wait_headers()).has_value());
  stream->reset();
  co_await test.stop();
}
TEST_P(ServerTest, AHandlerThatForgetsToAnswerResetsTheStream) { run(unanswered(*this)); }

INSTANTIATE_TEST_SUITE_P(Over, ServerTest,
                         ::testing::Values(Transport::kMemory, Transport::kEpollSockets,
                                           Transport::kUringSockets),
                         [](const auto& info) { return testing::to_string(info.param); });

}  // namespace
}  // namespace weft::hbone
