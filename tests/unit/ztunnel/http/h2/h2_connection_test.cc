#include "ztunnel/http/h2_connection.h"

#include "tests/unit/ztunnel/http/h2/h2_fixture.h"

namespace weft::http {
namespace {

using namespace std::chrono_literals;
using runtime::Buffer;
using runtime::Task;
using testing::both;
using testing::connect_to;
using testing::H2Pair;
using testing::hand_over;
using testing::ok;
using testing::open_stream;
using testing::pattern;
using testing::read_all;
using testing::read_some;
using testing::round_trip;
using testing::send;
using testing::send_and_end;
using testing::Transport;

using Streams = std::vector<std::unique_ptr<H2Stream>>;
using H2ConnectionTest = testing::H2Fixture;

Task<void> many_streams(H2ConnectionTest& test) {
  H2Pair pair(*test.loop, test.ends(), testing::echo);
  runtime::TaskScope streams;
  for (uint32_t i = 0; i < 150; ++i) {
    const size_t size = i % 50 == 0 ? 5U << 20 : (i * 7919) % 200'000;
    streams.spawn(round_trip(*test.loop, *pair.client, size, i));
  }
  co_await streams.join();
  EXPECT_EQ(pair.client->streams(), 0U);
  co_await pair.drain_and_join();
  EXPECT_TRUE(pair.client_end->has_value()) << pair.client_end->error().to_string();
  EXPECT_TRUE(pair.server_end->has_value()) << pair.server_end->error().to_string();
}
TEST_P(H2ConnectionTest, ManyStreamsCarryTheirOwnBytes) { run(many_streams(*this)); }

Task<void> half_close(H2ConnectionTest& test, bool client_first) {
  Streams theirs;
  H2Pair pair(*test.loop, test.ends(), hand_over(theirs));
  std::unique_ptr<H2Stream> ours = open_stream(*pair.client);
  EXPECT_TRUE((co_await ours->wait_headers()).has_value());
  H2Stream& first = client_first ? *ours : *theirs.at(0);
  H2Stream& second = client_first ? *theirs.at(0) : *ours;
  EXPECT_TRUE((co_await send_and_end(*test.loop, first, "the end of one")).has_value());
  EXPECT_EQ(co_await read_all(second), "the end of one");
  EXPECT_TRUE((co_await second.read())->empty());  // on every later call
  const std::string rest = pattern(1U << 20, 1);
  auto [wrote, got] = co_await both(send_and_end(*test.loop, second, rest), read_all(first));
  EXPECT_TRUE(wrote.has_value());
  EXPECT_TRUE(got && *got == rest);
  EXPECT_FALSE((co_await first.write(test.buffer("x"))).has_value());
  ours.reset();
  theirs.clear();
  co_await pair.drain_and_join();
}
TEST_P(H2ConnectionTest, TheClientMayEndItsSideFirst) { run(half_close(*this, true)); }
TEST_P(H2ConnectionTest, TheServerMayEndItsSideFirst) { run(half_close(*this, false)); }

Task<void> reset_one(H2ConnectionTest& test, bool by_client) {
  Streams theirs;
  H2Pair pair(*test.loop, test.ends(), hand_over(theirs));
  std::unique_ptr<H2Stream> ours = open_stream(*pair.client);
  EXPECT_TRUE((co_await ours->wait_headers()).has_value());
  EXPECT_TRUE((co_await send(*test.loop, *ours, "hello")).has_value());
  EXPECT_EQ(co_await read_some(*theirs.at(0), 5), "hello");
  H2Stream& breaker = by_client ? *ours : *theirs.at(0);
  H2Stream& other = by_client ? *theirs.at(0) : *ours;
  std::optional<Result<Buffer>> pending;
  runtime::TaskScope scope;
  scope.spawn(testing::store(breaker.read(), pending));
  breaker.abort();
  breaker.abort();
  co_await scope.join();
  EXPECT_EQ(pending->error().code, Code::kCancelled);
  EXPECT_EQ((co_await breaker.read()).error().code, Code::kCancelled);
  EXPECT_EQ((co_await breaker.write(test.buffer("x"))).error().code, Code::kCancelled);
  EXPECT_EQ((co_await breaker.shutdown_write()).error().code, Code::kCancelled);
  EXPECT_EQ((co_await other.read()).error().code, Code::kReset);
  EXPECT_EQ((co_await other.write(test.buffer("x"))).error().code, Code::kReset);
  EXPECT_EQ((co_await other.shutdown_write()).error().code, Code::kReset);
  // The connection carries the next stream.
  ours = open_stream(*pair.client);
  EXPECT_TRUE((co_await ours->wait_headers()).has_value());
  ours.reset();
  theirs.clear();
  co_await pair.drain_and_join();
  EXPECT_TRUE(pair.client_end->has_value());
}
TEST_P(H2ConnectionTest, TheClientMayResetAStream) { run(reset_one(*this, true)); }
TEST_P(H2ConnectionTest, TheServerMayResetAStream) { run(reset_one(*this, false)); }

// What a peer that ended its side said is read to its end, also where it resets the rest.
Task<void> ended_then_reset(H2ConnectionTest& test) {
  Streams theirs;
  H2Pair pair(*test.loop, test.ends(), hand_over(theirs));
  std::unique_ptr<H2Stream> ours = open_stream(*pair.client);
  EXPECT_TRUE((co_await ours->wait_headers()).has_value());
  const std::string text = pattern(100'000, 5);
  EXPECT_TRUE((co_await send_and_end(*test.loop, *theirs.at(0), text)).has_value());
  co_await test.turns();
  theirs.clear();
  co_await test.turns();
  EXPECT_EQ(co_await read_all(*ours), text);
  EXPECT_EQ((co_await ours->write(test.buffer("x"))).error().code, Code::kReset);
  ours.reset();
  co_await pair.drain_and_join();
}
TEST_P(H2ConnectionTest, AResetBehindTheEndLosesNothing) { run(ended_then_reset(*this)); }

// A holder that lets go after both have ended loses nothing that is still to be sent.
Task<void> let_go_early(H2ConnectionTest& test) {
  Streams theirs;
  H2Pair pair(*test.loop, test.ends(), hand_over(theirs));
  std::unique_ptr<H2Stream> ours = open_stream(*pair.client);
  EXPECT_TRUE((co_await ours->wait_headers()).has_value());
  EXPECT_TRUE((co_await ours->shutdown_write()).has_value());
  EXPECT_EQ(co_await read_all(*theirs.at(0)), "");
  const std::string text = pattern(H2Stream::kOutgoingBytesMax, 6);
  EXPECT_TRUE((co_await send_and_end(*test.loop, *theirs.at(0), text)).has_value());
  theirs.clear();
  EXPECT_EQ(co_await read_all(*ours), text);
  ours.reset();
  co_await pair.drain_and_join();
}
TEST_P(H2ConnectionTest, LettingGoAfterTheEndLosesNothing) { run(let_go_early(*this)); }

Task<void> unread_response(H2ConnectionTest& test) {
  Streams theirs;
  H2Pair pair(*test.loop, test.ends(), [](std::unique_ptr<H2Stream> stream) {
    EXPECT_TRUE(stream->respond({{":status", "401"}}, true).has_value());
    return testing::nothing();
  });
  const std::unique_ptr<H2Stream> ours = open_stream(*pair.client);
  EXPECT_TRUE((co_await ours->wait_headers()).has_value());
  EXPECT_EQ(find_header(ours->headers(), ":status"), "401");
  EXPECT_EQ(co_await read_all(*ours), "");
  co_await pair.drain_and_join();
}
TEST_P(H2ConnectionTest, AServerMayAnswerWithoutReading) { run(unread_response(*this)); }

Task<void> refused(H2ConnectionTest& test) {
  H2Pair pair(*test.loop, test.ends(), [](std::unique_ptr<H2Stream> stream) {
    stream->refuse();
    return testing::nothing();
  });
  const std::unique_ptr<H2Stream> ours = open_stream(*pair.client);
  EXPECT_EQ((co_await ours->wait_headers()).error().code, Code::kUnavailable);
  co_await pair.drain_and_join();
}
TEST_P(H2ConnectionTest, ARefusedRequestMayBeTriedAgain) { run(refused(*this)); }

Task<void> aborted_before_it_was_sent(H2ConnectionTest& test) {
  H2Pair pair(*test.loop, test.ends(), testing::echo);
  std::unique_ptr<H2Stream> ours = open_stream(*pair.client);
  ours->abort();
  EXPECT_EQ((co_await ours->wait_headers()).error().code, Code::kCancelled);
  ours.reset();
  co_await test.turns();
  EXPECT_EQ(pair.client->streams(), 0U);
  co_await round_trip(*test.loop, *pair.client, 1000, 1);
  co_await pair.drain_and_join();
}
TEST_P(H2ConnectionTest, ARequestMayBeAbortedBeforeItIsSent) {
  run(aborted_before_it_was_sent(*this));
}

Task<void> server_drains(H2ConnectionTest& test) {
  Streams theirs;
  H2Pair pair(*test.loop, test.ends(), hand_over(theirs));
  std::unique_ptr<H2Stream> first = open_stream(*pair.client);
  EXPECT_TRUE((co_await first->wait_headers()).has_value());
  pair.server->drain();
  co_await test.turns();
  EXPECT_FALSE(pair.client->accepts_requests());
  EXPECT_EQ(pair.client->request(connect_to("b:2"), false).error().code, Code::kUnavailable);
  const std::string text = pattern(2U << 20, 3);
  auto [wrote, got] =
      co_await both(send_and_end(*test.loop, *first, text), read_all(*theirs.at(0)));
  EXPECT_TRUE(wrote && got && *got == text);
  EXPECT_FALSE(pair.server_end.has_value());
  first.reset();
  theirs.clear();
  co_await pair.join();
  EXPECT_TRUE(pair.client_end->has_value()) << pair.client_end->error().to_string();
  EXPECT_TRUE(pair.server_end->has_value()) << pair.server_end->error().to_string();
}
TEST_P(H2ConnectionTest, ADrainingServerFinishesWhatItHas) { run(server_drains(*this)); }

Task<void> idle_drain(H2ConnectionTest& test, bool by_client) {
  H2Pair pair(*test.loop, test.ends(), testing::echo);
  co_await round_trip(*test.loop, *pair.client, 10, 1);
  (by_client ? *pair.client : *pair.server).drain();
  co_await pair.join();
  EXPECT_TRUE(pair.client_end->has_value()) << pair.client_end->error().to_string();
  EXPECT_TRUE(pair.server_end->has_value()) << pair.server_end->error().to_string();
}
TEST_P(H2ConnectionTest, AnIdleConnectionDrainsAtOnce) {
  run(idle_drain(*this, true));
  run(idle_drain(*this, false));
}

Task<void> vanishing_peer(H2ConnectionTest& test) {
  Streams theirs;
  H2Pair pair(*test.loop, test.ends(), hand_over(theirs));
  std::unique_ptr<H2Stream> ours = open_stream(*pair.client);
  EXPECT_TRUE((co_await ours->wait_headers()).has_value());
  EXPECT_TRUE((co_await send(*test.loop, *theirs.at(0), "before")).has_value());
  EXPECT_EQ(co_await read_some(*ours, 6), "before");
  pair.server->abort();
  EXPECT_EQ((co_await ours->read()).error().code, Code::kReset);
  EXPECT_EQ((co_await ours->write(test.buffer("x"))).error().code, Code::kReset);
  EXPECT_EQ((co_await theirs.at(0)->read()).error().code, Code::kReset);
  co_await pair.join();
  EXPECT_EQ(pair.server_end->error().code, Code::kCancelled);
  EXPECT_FALSE(pair.client->accepts_requests());
  // Streams outlive their connection.
  pair.client.reset();
  pair.server.reset();
  EXPECT_EQ((co_await ours->read()).error().code, Code::kReset);
  EXPECT_EQ((co_await ours->shutdown_write()).error().code, Code::kReset);
  ours->abort();
  EXPECT_FALSE(theirs.at(0)->respond(ok(), true).has_value());
}
TEST_P(H2ConnectionTest, APeerThatVanishesFailsItsStreams) { run(vanishing_peer(*this)); }

Task<void> settings_wait(H2ConnectionTest& test) {
  H2Options narrow;
  narrow.limits.streams_max = 7;
  H2Pair pair(*test.loop, test.ends(), testing::echo, {}, narrow);
  EXPECT_FALSE(pair.client->has_settings());
  EXPECT_TRUE(co_await pair.client->wait_settings());
  EXPECT_EQ(pair.client->peer_streams_max(), 7U);
  co_await pair.drain_and_join();
  EXPECT_FALSE(co_await pair.client->wait_settings());
}
TEST_P(H2ConnectionTest, ThePeersLimitIsKnownWithItsSettings) { run(settings_wait(*this)); }

// More requests than the peer takes at once wait for their turn.
Task<void> over_the_limit(H2ConnectionTest& test) {
  H2Options narrow;
  narrow.limits.streams_max = 3;
  H2Pair pair(*test.loop, test.ends(), testing::echo, {}, narrow);
  co_await pair.client->wait_settings();
  runtime::TaskScope streams;
  for (uint32_t i = 0; i < 20; ++i) {
    streams.spawn(round_trip(*test.loop, *pair.client, 1000, i));
  }
  co_await streams.join();
  co_await pair.drain_and_join();
}
TEST_P(H2ConnectionTest, RequestsOverThePeersLimitWait) { run(over_the_limit(*this)); }

Task<void> pings(H2ConnectionTest& test) {
  H2Options often;
  often.ping_every = 1ms;
  often.ping_timeout = 10s;
  H2Pair pair(*test.loop, test.ends(), testing::echo, often, often);
  for (uint32_t i = 0; i < 20; ++i) {
    co_await test.loop->sleep(1ms);
    co_await round_trip(*test.loop, *pair.client, 100, i);
  }
  co_await pair.drain_and_join();
  EXPECT_TRUE(pair.client_end->has_value());
}
TEST_P(H2ConnectionTest, PingsAreAnswered) { run(pings(*this)); }

// Counts what reaches the transport.
class CountingStream final : public runtime::ByteStream {
 public:
  CountingStream(std::unique_ptr<ByteStream> inner, int& writes)
      : inner_(std::move(inner)), writes_(writes) {}
  Task<Result<Buffer>> read() override { return inner_->read(); }
  Task<Result<void>> write(Buffer bytes) override {
    ++writes_;
    return inner_->write(std::move(bytes));
  }
  Task<Result<void>> shutdown_write() override { return inner_->shutdown_write(); }
  void abort() override { inner_->abort(); }

 private:
  std::unique_ptr<ByteStream> inner_;
  int& writes_;
};

Task<void> coalesced(H2ConnectionTest& test) {
  Streams theirs;
  int writes = 0;
  testing::StreamPair ends = test.ends();
  ends.first = std::make_unique<CountingStream>(std::move(ends.first), writes);
  H2Pair pair(*test.loop, std::move(ends), hand_over(theirs));
  Streams ours;
  for (int i = 0; i < 100; ++i) ours.push_back(open_stream(*pair.client));
  for (const auto& stream : ours) EXPECT_TRUE((co_await stream->wait_headers()).has_value());
  EXPECT_LE(writes, 3);  // the preface and all requests, and what answers the server's settings
  writes = 0;
  for (const auto& stream : ours) {
    EXPECT_TRUE((co_await stream->write(test.buffer("some bytes"))).has_value());
  }
  co_await test.turns();
  EXPECT_EQ(writes, 1);
  ours.clear();
  theirs.clear();
  co_await pair.drain_and_join();
}
TEST_P(H2ConnectionTest, WhatATurnHasToSayLeavesInOneWrite) { run(coalesced(*this)); }

INSTANTIATE_TEST_SUITE_P(Over, H2ConnectionTest,
                         ::testing::Values(Transport::kMemory, Transport::kEpollSockets,
                                           Transport::kUringSockets),
                         [](const auto& info) { return testing::to_string(info.param); });

}  // namespace
}  // namespace weft::http
