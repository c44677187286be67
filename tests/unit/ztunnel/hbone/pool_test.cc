#include "ztunnel/hbone/pool.h"

#include "tests/unit/ztunnel/hbone/hbone_fixture.h"

#include <set>

namespace weft::hbone {
namespace {

using namespace std::chrono_literals;
using runtime::Buffer;
using runtime::ByteStream;
using runtime::Task;
using testing::both;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::Opened;
using testing::pattern;
using testing::read_all;
using testing::read_some;
using testing::send;
using testing::send_and_end;
using testing::Transport;

using PoolTest = testing::HboneFixture;

void expect_open(const Opened& opened) {
  EXPECT_TRUE(opened.has_value()) << opened.error().error.to_string();
}

Task<void> carry(PoolTest& test, size_t size, uint32_t seed) {
  Opened opened = co_await test.open();
  expect_open(opened);
  if (!opened) co_return;
  const std::string text = pattern(size, seed);
  auto [wrote, got] =
      co_await both(send_and_end(*test.loop, *opened->stream, text), read_all(*opened->stream));
  EXPECT_TRUE(wrote && got && *got == text) << seed;
}

Task<void> shared(PoolTest& test) {
  runtime::TaskScope streams;
  for (uint32_t i = 0; i < 100; ++i) {
    streams.spawn(carry(test, i % 25 == 0 ? 5U << 20 : i * 1013, i));
  }
  co_await streams.join();
  EXPECT_EQ(test.dials, 1);
  EXPECT_EQ(test.pool->tunnels(), 1U);
}
TEST_P(PoolTest, AHundredStreamsShareATunnel) { run(shared(*this)); }

Task<void> what_is_said(PoolTest& test) {
  const ConnectRequest request{"10.0.0.1:80", "k8s.namespace.name=client",
                               "for=\"10.1.1.1:5\";host=web.ns.svc.cluster.local",
                               "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"};
  std::optional<ConnectRequest> seen;
  std::optional<SpiffeId> peer;
  test.handler = [&](std::unique_ptr<IncomingConnect> incoming) {
    seen = incoming->request();
    peer = incoming->peer();
    return testing::accept_and_echo(std::move(incoming));
  };
  const Opened opened = co_await test.pool->open(test.key(), test.client_context, request);
  expect_open(opened);
  EXPECT_EQ(opened->peer, testing::identity("server"));
  EXPECT_EQ(opened->baggage, "k8s.namespace.name=server");
  EXPECT_EQ(peer, testing::identity("client"));
  EXPECT_EQ(seen->authority, request.authority);
  EXPECT_EQ(seen->baggage, request.baggage);
  EXPECT_EQ(seen->forwarded, request.forwarded);
  EXPECT_EQ(seen->traceparent, request.traceparent);
}
TEST_P(PoolTest, BothSidesLearnWhoTheOtherIs) { run(what_is_said(*this)); }

Task<void> the_next_tunnel(PoolTest& test) {
  std::vector<Opened> open;
  for (size_t i = 0; i < Pool::kStreamsMax; ++i) open.push_back(co_await test.open());
  EXPECT_EQ(test.dials, 1);
  open.push_back(co_await test.open());
  EXPECT_EQ(test.dials, 2);
  EXPECT_EQ(test.pool->tunnels(), 2U);
  for (const Opened& one : open) expect_open(one);
  // A place that has become free is taken again.
  open.erase(open.begin());
  co_await test.turns();
  open.push_back(co_await test.open());
  expect_open(open.back());
  EXPECT_EQ(test.dials, 2);
}
TEST_P(PoolTest, TheHundredAndFirstStreamOpensASecondTunnel) { run(the_next_tunnel(*this)); }

Task<void> other_keys(PoolTest& test) {
  const TunnelKey here = test.key();
  TunnelKey other_peer = here;
  other_peer.peers.push_back(testing::identity("another"));
  TunnelKey other_source = here;
  other_source.source = testing::identity("client2");
  std::vector<Opened> open;
  for (const TunnelKey& key : {here, other_peer, other_source, test.key("10.0.0.2:15008"), here}) {
    open.push_back(co_await test.pool->open(key, test.client_context, {.authority = "a:1"}));
    expect_open(open.back());
  }
  EXPECT_EQ(test.dials, 4);
}
TEST_P(PoolTest, OnlyTheSameKeySharesATunnel) { run(other_keys(*this)); }

Task<void> open_into(PoolTest& test, std::vector<Opened>& all) {
  all.push_back(co_await test.open());
}
Task<void> open_many(PoolTest& test, size_t count, std::vector<Opened>& all) {
  runtime::TaskScope tasks;
  for (size_t i = 0; i < count; ++i) tasks.spawn(open_into(test, all));
  co_await tasks.join();
}

Task<void> dial_fails(PoolTest& test) {
  std::vector<Opened> all;
  test.dial_error = Error(Code::kRefused, "nobody listens");
  co_await open_many(test, 50, all);
  EXPECT_EQ(test.dials, 1);
  EXPECT_EQ(all.size(), 50U);
  for (const Opened& one : all) {
    EXPECT_EQ(one.error().flag, Flag::kConnect);
    EXPECT_EQ(one.error().error.message, "nobody listens");
  }
  EXPECT_EQ(test.pool->tunnels(), 0U);
  // Nothing of it stays: the next tries again.
  test.dial_error.reset();
  expect_open(co_await test.open());
  EXPECT_EQ(test.dials, 2);
}
TEST_P(PoolTest, EveryWaiterSeesAFailedDial) { run(dial_fails(*this)); }

Task<void> dial_times_out(PoolTest& test) {
  test.dial_error = Error(Code::kTimeout, "10 s");
  const Opened opened = co_await test.open();
  EXPECT_THAT(opened.error().error.message, HasSubstr("NetworkPolicy"));
}
TEST_P(PoolTest, ADialThatTimesOutSaysWhatToLookAt) { run(dial_times_out(*this)); }

Task<void> wrong_peer(PoolTest& test) {
  test.server_context = test.context("impostor");
  std::vector<Opened> all;
  co_await open_many(test, 20, all);
  EXPECT_EQ(test.dials, 1);
  for (const Opened& one : all) {
    EXPECT_EQ(one.error().flag, Flag::kTlsFailure);
    EXPECT_THAT(one.error().error.to_string(), HasSubstr("impostor"));
  }
}
TEST_P(PoolTest, APeerThatProvesAnotherIdentityIsRefused) { run(wrong_peer(*this)); }

Task<void> refusals(PoolTest& test) {
  int status = 0;
  test.handler = [&](std::unique_ptr<IncomingConnect> incoming) {
    return [](std::unique_ptr<IncomingConnect> refused, int with) -> Task<void> {
      co_await refused->refuse(with);
    }(std::move(incoming), status);
  };
  for (const auto& [refused, flag] : {std::pair{401, Flag::kDeny}, std::pair{400, Flag::kConnect},
                                      std::pair{503, Flag::kConnect}}) {
    status = refused;
    const Opened opened = co_await test.open();
    EXPECT_EQ(opened.error().status, refused);
    EXPECT_EQ(opened.error().flag, flag);
  }
  EXPECT_EQ(test.dials, 1);
}
TEST_P(PoolTest, ARefusalTellsItsStatus) { run(refusals(*this)); }

// A peer whose HTTP/2 is made by hand.
Task<void> serve_h2(runtime::Loop& loop, std::unique_ptr<tls::TlsStream> stream,
                    http::H2Options options, testing::H2Pair::Handler handler) {
  options.role = http::H2Role::kServer;
  runtime::TaskScope handlers;
  http::H2Connection connection(loop, std::move(stream), options,
                                [&](std::unique_ptr<http::H2Stream> request) {
                                  handlers.spawn(handler(std::move(request)));
                                });
  static_cast<void>(co_await connection.run());
  co_await handlers.join();
}
PoolTest::ServeTls with_h2(PoolTest& test, uint32_t streams_max, testing::H2Pair::Handler handler) {
  http::H2Options options;
  options.limits.streams_max = streams_max;
  return [&test, options, handler](std::unique_ptr<tls::TlsStream> stream) {
    return serve_h2(*test.loop, std::move(stream), options, handler);
  };
}

Task<void> peers_limit(PoolTest& test) {
  test.serve_tls = with_h2(test, 3, testing::echo);
  std::vector<Opened> all;
  co_await open_many(test, 10, all);
  for (const Opened& one : all) expect_open(one);
  EXPECT_EQ(test.dials, 4);
}
TEST_P(PoolTest, ThePeersOwnLimitIsRespected) { run(peers_limit(*this)); }

Task<void> full(PoolTest& test) {
  test.serve_tls = with_h2(test, 1, testing::echo);
  std::vector<Opened> all;
  for (size_t i = 0; i < Pool::kTunnelsMax; ++i) {
    all.push_back(co_await test.open());
    if (!all.back()) break;
  }
  expect_open(all.back());
  EXPECT_EQ(test.pool->tunnels(), Pool::kTunnelsMax);
  const Opened one_more = co_await test.open();
  EXPECT_FALSE(one_more.has_value());
  if (one_more) co_return;
  EXPECT_EQ(one_more.error().error.code, Code::kLimit);
  EXPECT_THAT(one_more.error().error.message, HasSubstr("all full"));
  EXPECT_EQ(test.dials, static_cast<int>(Pool::kTunnelsMax));
  // Others go on, and one that ends makes room.
  EXPECT_TRUE((co_await send(*test.loop, *all.front()->stream, "still here")).has_value());
  EXPECT_EQ((co_await read_some(*all.front()->stream, 10)).value_or(""), "still here");
  all.pop_back();
  co_await test.turns();
  expect_open(co_await test.open());
}
TEST_P(PoolTest, AFullPoolRefusesAndRecovers) { run(full(*this)); }

Task<void> no_streams_at_all(PoolTest& test) {
  test.serve_tls = with_h2(test, 0, testing::echo);
  std::vector<Opened> all;
  co_await open_many(test, 10, all);
  for (const Opened& one : all) EXPECT_FALSE(one.has_value());
  EXPECT_LE(test.dials, 12);
}
TEST_P(PoolTest, APeerThatTakesNoStreamsIsAnError) { run(no_streams_at_all(*this)); }

Task<void> refused_once(PoolTest& test) {
  int requests = 0;
  test.serve_tls = with_h2(test, 200, [&](std::unique_ptr<http::H2Stream> stream) {
    if (++requests > 1) return testing::echo(std::move(stream));
    stream->refuse();
    return []() -> Task<void> { co_return; }();
  });
  expect_open(co_await test.open());
  EXPECT_EQ(requests, 2);
}
TEST_P(PoolTest, AnUntouchedConnectIsSentOnceMore) { run(refused_once(*this)); }

Task<void> always_refused(PoolTest& test) {
  int requests = 0;
  test.serve_tls = with_h2(test, 200, [&](std::unique_ptr<http::H2Stream> stream) {
    ++requests;
    stream->refuse();
    return []() -> Task<void> { co_return; }();
  });
  EXPECT_EQ((co_await test.open()).error().error.code, Code::kUnavailable);
  EXPECT_EQ(requests, 2);
}
TEST_P(PoolTest, ButNotForEver) { run(always_refused(*this)); }

Task<void> drained(PoolTest& test) {
  Opened first = co_await test.open();
  expect_open(first);
  test.connections.at(0)->drain();
  co_await test.turns();
  Opened second = co_await test.open();
  expect_open(second);
  EXPECT_EQ(test.dials, 2);
  const std::string text = pattern(2U << 20, 1);
  auto [wrote, got] =
      co_await both(send_and_end(*test.loop, *first->stream, text), read_all(*first->stream));
  EXPECT_TRUE(wrote && got && *got == text);
  first->stream.reset();
  co_await test.turns();
  EXPECT_EQ(test.pool->tunnels(), 1U);
  EXPECT_EQ(test.connections.size(), 1U);
}
TEST_P(PoolTest, ADrainingPeerKeepsItsStreamsAndGetsNoNewOnes) { run(drained(*this)); }

Task<void> dies(PoolTest& test) {
  Opened first = co_await test.open();
  expect_open(first);
  EXPECT_TRUE((co_await send(*test.loop, *first->stream, "hello")).has_value());
  EXPECT_EQ(co_await read_some(*first->stream, 5), "hello");
  test.connections.at(0)->abort();
  EXPECT_EQ((co_await first->stream->read()).error().code, Code::kReset);
  EXPECT_EQ((co_await first->stream->write(test.loop->buffers().copy_of("x"))).error().code,
            Code::kReset);
  co_await test.turns();
  EXPECT_EQ(test.pool->tunnels(), 0U);
  expect_open(co_await test.open());
  EXPECT_EQ(test.dials, 2);
}
TEST_P(PoolTest, ATunnelThatDiesResetsItsStreams) { run(dies(*this)); }

Task<void> half_close(PoolTest& test, bool client_first) {
  std::unique_ptr<ByteStream> theirs;
  test.handler = [&](std::unique_ptr<IncomingConnect> incoming) {
    return [](std::unique_ptr<IncomingConnect> one, std::unique_ptr<ByteStream>& to) -> Task<void> {
      to = std::move(*co_await one->accept(""));
    }(std::move(incoming), theirs);
  };
  Opened opened = co_await test.open();
  expect_open(opened);
  EXPECT_EQ(opened->baggage, "");
  ByteStream& first = client_first ? *opened->stream : *theirs;
  ByteStream& second = client_first ? *theirs : *opened->stream;
  EXPECT_TRUE((co_await send_and_end(*test.loop, first, "one side")).has_value());
  EXPECT_EQ(co_await read_all(second), "one side");
  const std::string text = pattern(1U << 20, 4);
  auto [wrote, got] = co_await both(send_and_end(*test.loop, second, text), read_all(first));
  EXPECT_TRUE(wrote && got && *got == text);
  theirs.reset();
}
TEST_P(PoolTest, EitherSideMayEndFirst) {
  run(half_close(*this, true));
  make_pool(Pool::kTimes);
  run(half_close(*this, false));
}

Task<void> idle(PoolTest& test) {
  PoolTimes hasty = Pool::kTimes;
  hasty.idle_max = 20ms;
  co_await test.pool->close(0ms);
  test.make_pool(hasty);
  Opened opened = co_await test.open();
  expect_open(opened);
  co_await test.loop->sleep(60ms);
  EXPECT_EQ(test.pool->tunnels(), 1U);  // in use
  opened->stream.reset();
  co_await test.loop->sleep(5ms);
  expect_open(co_await test.open());  // begins the time anew
  EXPECT_EQ(test.dials, 1);
  while (test.pool->tunnels() > 0) co_await test.loop->sleep(5ms);
  while (!test.connections.empty()) co_await test.loop->sleep(1ms);
  expect_open(co_await test.open());
  EXPECT_EQ(test.dials, 2);
}
TEST_P(PoolTest, AnIdleTunnelEnds) { run(idle(*this)); }

Task<void> retired(PoolTest& test) {
  Opened old = co_await test.open();
  expect_open(old);
  test.pool->retire(testing::identity("somebody else"));
  expect_open(co_await test.open());
  EXPECT_EQ(test.dials, 1);
  test.pool->retire(testing::identity("client"));
  Opened fresh = co_await test.open();
  expect_open(fresh);
  EXPECT_EQ(test.dials, 2);
  EXPECT_EQ(test.pool->tunnels(), 2U);
  EXPECT_TRUE((co_await send(*test.loop, *old->stream, "still")).has_value());
  EXPECT_EQ(co_await read_some(*old->stream, 5), "still");
  old->stream.reset();
  co_await test.turns();
  EXPECT_EQ(test.pool->tunnels(), 1U);
  fresh->stream.reset();
  test.pool->retire(testing::identity("client"));  // may be empty already
  co_await test.turns();
  EXPECT_EQ(test.pool->tunnels(), 0U);
}
TEST_P(PoolTest, ARetiredTunnelEndsWithItsLastStream) { run(retired(*this)); }

Task<void> retired_in_setup(PoolTest& test) {
  std::optional<Opened> first;
  runtime::TaskScope tasks;
  tasks.spawn(testing::store(test.open(), first));
  test.pool->retire(testing::identity("client"));
  co_await tasks.join();
  expect_open(*first);
  expect_open(co_await test.open());
  EXPECT_EQ(test.dials, 2);
}
TEST_P(PoolTest, ATunnelRetiredWhileItIsSetUpServesItsWaitersOnly) { run(retired_in_setup(*this)); }

Task<void> closes_in_order(PoolTest& test) {
  Opened opened = co_await test.open();
  expect_open(opened);
  runtime::TaskScope tasks;
  tasks.spawn(test.pool->close(10s));
  EXPECT_FALSE((co_await test.open()).has_value());
  const std::string text = pattern(1U << 20, 1);
  auto [wrote, got] =
      co_await both(send_and_end(*test.loop, *opened->stream, text), read_all(*opened->stream));
  EXPECT_TRUE(wrote && got && *got == text);
  opened->stream.reset();
  co_await tasks.join();
  EXPECT_EQ(test.pool->tunnels(), 0U);
}
TEST_P(PoolTest, ClosingLetsStreamsEnd) { run(closes_in_order(*this)); }

Task<void> closes_at_once(PoolTest& test) {
  const Opened opened = co_await test.open();
  expect_open(opened);
  std::optional<Opened> waiting;
  runtime::TaskScope tasks;
  tasks.spawn(testing::store(
      test.pool->open(test.key("10.0.0.9:15008"), test.client_context, {.authority = "a:1"}),
      waiting));
  co_await test.pool->close(20ms);
  co_await tasks.join();
  EXPECT_EQ(waiting->error().error.code, Code::kCancelled);
  EXPECT_EQ((co_await opened->stream->read()).error().code, Code::kReset);
}
TEST_P(PoolTest, ClosingDoesNotWaitLongerThanItsLimit) { run(closes_at_once(*this)); }

// What a peer does that is none.
Task<void> hold_open(std::unique_ptr<ByteStream> transport) {
  while (true) {
    const Result<Buffer> bytes = co_await transport->read();
    if (!bytes || bytes->empty()) co_return;
  }
}
Task<void> say(runtime::Loop& loop, std::unique_ptr<ByteStream> transport, std::string text) {
  static_cast<void>(co_await send(loop, *transport, text));
  co_await hold_open(std::move(transport));
}

Task<void> expect_all(PoolTest& test, Flag flag, std::set<Code> codes,
                      std::chrono::milliseconds setup_timeout,
                      std::chrono::milliseconds answer_timeout = 10s) {
  co_await test.pool->close(0ms);
  PoolTimes times = Pool::kTimes;
  times.setup_timeout = setup_timeout;
  times.answer_timeout = answer_timeout;
  test.make_pool(times);
  std::vector<Opened> all;
  co_await open_many(test, 5, all);
  for (const Opened& one : all) {
    EXPECT_EQ(one.error().flag, flag);
    EXPECT_TRUE(codes.contains(one.error().error.code)) << one.error().error.to_string();
  }
}

TEST_P(PoolTest, APeerThatIsSilentInTls) {
  serve_bytes = hold_open;
  run(expect_all(*this, Flag::kTlsFailure, {Code::kTimeout}, 30ms));
  EXPECT_EQ(dials, 1);
}

TEST_P(PoolTest, APeerThatSpeaksNoTls) {
  serve_bytes = [this](std::unique_ptr<ByteStream> transport) {
    return say(*loop, std::move(transport), "HTTP/1.1 400 Bad Request\r\n\r\n");
  };
  run(expect_all(*this, Flag::kTlsFailure, {Code::kRefused}, 10s));
}

TEST_P(PoolTest, APeerThatIsSilentInHttp2) {
  serve_tls = [](std::unique_ptr<tls::TlsStream> stream) { return hold_open(std::move(stream)); };
  run(expect_all(*this, Flag::kH2HandshakeFailure, {Code::kReset}, 500ms));
}

TEST_P(PoolTest, APeerThatSpeaksNoHttp2) {
  serve_tls = [this](std::unique_ptr<tls::TlsStream> stream) {
    return say(*loop, std::move(stream), "HTTP/1.1 400 Bad Request\r\n\r\n");
  };
  // The CONNECT was sent already, or not yet.
  run(expect_all(*this, Flag::kH2HandshakeFailure, {Code::kReset, Code::kUnavailable}, 10s));
}

Task<void> keep(std::unique_ptr<http::H2Stream> stream) {
  static_cast<void>(co_await read_all(*stream));
}
TEST_P(PoolTest, APeerThatAnswersNoConnect) {
  serve_tls = with_h2(*this, 200, keep);
  run(expect_all(*this, Flag::kConnect, {Code::kTimeout}, 10s, 30ms));
}

INSTANTIATE_TEST_SUITE_P(Over, PoolTest,
                         ::testing::Values(Transport::kMemory, Transport::kEpollSockets,
                                           Transport::kUringSockets),
                         [](const auto& info) { return testing::to_string(info.param); });

}  // namespace
}  // namespace weft::hbone
