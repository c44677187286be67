#include "tests/unit/ztunnel/http/h2/h2_fixture.h"
#include "tests/unit/ztunnel/http/h2/raw_frames.h"
#include "ztunnel/http/byte_queue.h"
#include "ztunnel/http/h2_connection.h"

#include <gmock/gmock.h>

// What a connection holds when its peer, or the holder of a stream, does not do its part; and peers
// that mean harm.

namespace weft::http {
namespace {

using namespace std::chrono_literals;
using runtime::Buffer;
using runtime::BufferPool;
using runtime::ByteStream;
using runtime::Task;
using testing::frame;
using testing::FrameType;
using testing::H2Pair;
using testing::hand_over;
using testing::headers_frame;
using testing::kPreface;
using testing::open_stream;
using testing::pattern;
using testing::read_some;
using testing::round_trip;
using testing::send;
using testing::settings_frame;
using testing::Transport;

using Streams = std::vector<std::unique_ptr<H2Stream>>;
using H2BoundsTest = testing::H2Fixture;

const testing::Fields kConnect{{":method", "CONNECT"}, {":authority", "10.0.0.1:80"}};

// Writes until it is told to stop by an abort; counts what was taken.
Task<void> pour(runtime::Loop& loop, H2Stream& stream, size_t& taken) {
  const std::string chunk = pattern(BufferPool::kBufferBytes, 9);
  while (co_await stream.write(loop.buffers().copy_of(chunk))) taken += chunk.size();
}

// The first stream's bytes go nowhere, all others are echoed.
H2Pair::Handler stall_first(Streams& stalled) {
  return [&stalled](std::unique_ptr<H2Stream> stream) {
    if (!stalled.empty()) return testing::echo(std::move(stream));
    return hand_over(stalled)(std::move(stream));
  };
}

Task<void> stalled_reader(H2BoundsTest& test) {
  Streams stalled;
  H2Pair pair(*test.loop, test.ends(), stall_first(stalled));
  std::unique_ptr<H2Stream> poured = open_stream(*pair.client);
  EXPECT_TRUE((co_await poured->wait_headers()).has_value());
  runtime::TaskScope pouring;
  size_t taken = 0;
  pouring.spawn(pour(*test.loop, *poured, taken));
  // Others go on, many windows' worth of them.
  for (uint32_t i = 0; i < 4; ++i) co_await round_trip(*test.loop, *pair.client, 8U << 20, i);
  const size_t window = H2Limits().stream_window_bytes;
  EXPECT_GE(taken, window);
  EXPECT_LE(taken, window + H2Stream::kOutgoingBytesMax + 3 * BufferPool::kBufferBytes);
  // The stalled stream's window, packed; and what its writer may be ahead.
  const size_t storages = (window + ByteQueue::kSharedBytesMax + H2Stream::kOutgoingBytesMax) /
                          BufferPool::kBufferBytes;
  EXPECT_LE(test.loop->buffers().in_use(), 2 * storages);

  // Once it is read, it flows.
  const std::string chunk = pattern(BufferPool::kBufferBytes, 9);
  std::string expected;
  while (expected.size() < 12U << 20) expected += chunk;
  Result<std::string> read = co_await read_some(*stalled.at(0), 12U << 20);
  EXPECT_TRUE(read && read->substr(0, expected.size()) == expected.substr(0, read->size()));
  poured->abort();
  co_await pouring.join();
  poured.reset();
  stalled.clear();
  co_await pair.drain_and_join();
}
TEST_P(H2BoundsTest, AStalledReaderHoldsItsWindowAndStallsNobody) { run(stalled_reader(*this)); }

// Its window grows with what it reads: then it holds as much.
Task<void> stalled_after_much(H2BoundsTest& test) {
  Streams theirs;
  H2Pair pair(*test.loop, test.ends(), hand_over(theirs));
  std::unique_ptr<H2Stream> ours = open_stream(*pair.client);
  EXPECT_TRUE((co_await ours->wait_headers()).has_value());
  runtime::TaskScope pouring;
  size_t taken = 0;
  pouring.spawn(pour(*test.loop, *ours, taken));
  size_t read = 0;
  size_t window = H2Limits().stream_window_bytes;
  const size_t most = H2Limits().stream_window_bytes_max;
  for (size_t reads = 0; reads <= 2 * most; window = std::min(2 * window, most)) {
    co_await test.turns(200);
    // What was read beyond `reads` is given back later, with half a window.
    EXPECT_GE(taken, reads + window);
    EXPECT_LE(taken, read + window + H2Stream::kOutgoingBytesMax + 2 * BufferPool::kBufferBytes);
    for (reads = std::max(2 * reads, window); read < reads;) {
      const Result<Buffer> bytes = co_await theirs.at(0)->read();
      EXPECT_TRUE(bytes && !bytes->empty());
      read += bytes->size();
    }
  }
  ours->abort();
  co_await pouring.join();
  ours.reset();
  theirs.clear();
  co_await pair.drain_and_join();
}
TEST_P(H2BoundsTest, AReaderThatStopsLaterHoldsAsMuchAsItHasRead) {
  run(stalled_after_much(*this));
}

H2Options wide() {
  H2Options options;
  options.limits.stream_window_bytes = options.limits.stream_window_bytes_max;
  return options;
}

// So many stalled streams that the connection's own window must close.
Task<void> many_stalled_readers(H2BoundsTest& test) {
  constexpr size_t kStreams = 40;  // of 4 MiB: 160 MiB
  Streams theirs;
  Streams ours;
  H2Pair pair(*test.loop, test.ends(), hand_over(theirs), {}, wide());
  runtime::TaskScope pouring;
  std::vector<size_t> taken(kStreams);
  for (size_t i = 0; i < kStreams; ++i) {
    ours.push_back(open_stream(*pair.client));
    pouring.spawn(pour(*test.loop, *ours.back(), taken[i]));
  }
  size_t before = 1;
  size_t total = 0;
  while (total != before) {  // until nothing moves
    before = total;
    co_await test.turns(200);
    total = 0;
    for (const size_t one : taken) total += one;
  }
  constexpr size_t kWindow = 16U << 20;
  constexpr size_t kAhead = kStreams * (H2Stream::kOutgoingBytesMax + BufferPool::kBufferBytes);
  EXPECT_GE(total, H2Connection::kUnreadBytesMax);
  EXPECT_LE(total, H2Connection::kUnreadBytesMax + kWindow + kAhead + (1U << 20));
  // Reading a little lets a little in; closing the streams gives everything back.
  for (const auto& stream : theirs) EXPECT_TRUE((co_await stream->read()).has_value());
  for (const auto& stream : ours) stream->abort();
  co_await pouring.join();
  ours.clear();
  theirs.clear();
  co_await test.turns();
  EXPECT_LE(test.loop->buffers().in_use(), 8U);
  // The window is whole again: many of its sizes go through.
  std::unique_ptr<H2Stream> last = open_stream(*pair.client);
  EXPECT_TRUE((co_await last->wait_headers()).has_value());
  size_t more = 0;
  pouring.spawn(pour(*test.loop, *last, more));
  size_t read = 0;
  while (read < 100U << 20) {
    const Result<Buffer> bytes = co_await theirs.at(0)->read();
    EXPECT_TRUE(bytes && !bytes->empty());
    read += bytes->size();
  }
  last->abort();
  co_await pouring.join();
  last.reset();
  theirs.clear();
  co_await pair.drain_and_join();
}
TEST_P(H2BoundsTest, UnreadBytesOfAllStreamsTogetherAreBounded) {
  run(many_stalled_readers(*this));
}

Task<void> tiny_writes(H2BoundsTest& test) {
  Streams theirs;
  H2Options narrow;
  narrow.limits.stream_window_bytes = 1000;
  H2Pair pair(*test.loop, test.ends(), hand_over(theirs), {}, narrow);
  std::unique_ptr<H2Stream> ours = open_stream(*pair.client);
  EXPECT_TRUE((co_await ours->wait_headers()).has_value());
  co_await test.turns();
  std::string sent;
  for (size_t i = 0; i < H2Stream::kOutgoingBytesMax; ++i) {
    sent += static_cast<char>('a' + i % 26);
    EXPECT_TRUE((co_await ours->write(test.buffer(sent.substr(i)))).has_value());
  }
  // 128 KiB of single bytes, each in a buffer of its own when it came.
  EXPECT_LE(test.loop->buffers().in_use(), 8U);
  EXPECT_EQ(co_await read_some(*theirs.at(0), sent.size()), sent);
  ours.reset();
  theirs.clear();
  co_await pair.drain_and_join();
}
TEST_P(H2BoundsTest, TinyWritesDoNotPinABufferEach) { run(tiny_writes(*this)); }

Task<void> unread_and_dropped(H2BoundsTest& test) {
  Streams theirs;
  H2Pair pair(*test.loop, test.ends(), hand_over(theirs), {}, wide());
  // Many times the unread bound in streams that are dropped unread, some reset by either side, some
  // after the peer's end.
  for (int i = 0; i < 60; ++i) {
    std::unique_ptr<H2Stream> ours = open_stream(*pair.client);
    EXPECT_TRUE((co_await ours->wait_headers()).has_value());
    EXPECT_TRUE((co_await send(*test.loop, *ours, pattern(3U << 20, 1))).has_value());
    if (i % 3 == 0) EXPECT_TRUE((co_await ours->shutdown_write()).has_value());
    if (i % 3 == 1) ours->abort();
    co_await test.turns();
    theirs.clear();
  }
  co_await test.turns();
  EXPECT_EQ(test.loop->buffers().in_use(), 0U);
  std::unique_ptr<H2Stream> ours = open_stream(*pair.client);
  EXPECT_TRUE((co_await ours->wait_headers()).has_value());
  EXPECT_TRUE((co_await send(*test.loop, *ours, pattern(3U << 20, 2))).has_value());
  EXPECT_EQ(co_await read_some(*theirs.at(0), 3U << 20), pattern(3U << 20, 2));
  ours.reset();
  theirs.clear();
  co_await pair.drain_and_join();
}
TEST_P(H2BoundsTest, WhatIsDroppedUnreadIsGivenBack) { run(unread_and_dropped(*this)); }

// A server connection and the bare transport of its peer.
struct RawClient {
  RawClient(H2BoundsTest& test, H2Pair::Handler handle, H2Options options = {})
      : handler(std::move(handle)) {
    testing::StreamPair ends = test.ends();
    raw = std::move(ends.first);
    options.role = H2Role::kServer;
    server = std::make_unique<H2Connection>(*test.loop, std::move(ends.second), options,
                                            [this](std::unique_ptr<H2Stream> stream) {
                                              ++requests;
                                              tasks.spawn(handler(std::move(stream)));
                                            });
    tasks.spawn(testing::store(server->run(), end));
  }

  std::unique_ptr<ByteStream> raw;
  H2Pair::Handler handler;
  runtime::TaskScope tasks;
  std::unique_ptr<H2Connection> server;
  std::optional<Result<void>> end;
  size_t requests = 0;
};

// All that comes until the end or a reset.
Task<std::string> read_until_over(ByteStream& stream) {
  std::string all;
  while (true) {
    Result<Buffer> bytes = co_await stream.read();
    if (!bytes || bytes->empty()) co_return all;
    all += bytes->text();
  }
}

Task<void> swallow(ByteStream& stream) { static_cast<void>(co_await read_until_over(stream)); }

// Sends as long as the peer takes it.
Task<void> send_what_goes(runtime::Loop& loop, ByteStream& stream, std::string text) {
  static_cast<void>(co_await send(loop, stream, text));
}

Task<void> bad_bytes(H2BoundsTest& test, std::string bytes) {
  RawClient client(test, testing::echo);
  client.tasks.spawn(send_what_goes(*test.loop, *client.raw, std::move(bytes)));
  static_cast<void>(co_await read_until_over(*client.raw));
  client.raw->abort();
  co_await client.tasks.join();
  EXPECT_FALSE(client.end->has_value());
}
TEST_P(H2BoundsTest, PeersThatDoNotSpeakHttp2AreDropped) {
  run(bad_bytes(*this, "GET / HTTP/1.1\r\n\r\n"));
  run(bad_bytes(*this, pattern(100'000, 1)));
  run(bad_bytes(*this, std::string(kPreface) + pattern(100'000, 2)));
  run(bad_bytes(*this, std::string(kPreface) + settings_frame() + pattern(100'000, 3)));
  run(bad_bytes(*this, std::string(kPreface) + settings_frame() +
                           frame(FrameType::kData, 0, 1, "a stream that never was")));
}

TEST_P(H2BoundsTest, AMegabyteOfHeadersIsNotTaken) {
  std::string bytes = std::string(kPreface) + settings_frame() +
                      frame(FrameType::kHeaders, 0, 1, testing::header_block(kConnect));
  for (int i = 0; i < 64; ++i) {
    const std::string block = testing::header_block({{"x", std::string(16'300, 'v')}});
    bytes += frame(FrameType::kContinuation, 0, 1, block);
  }
  run(bad_bytes(*this, std::move(bytes)));
}

Task<void> too_slow(H2BoundsTest& test, std::string bytes) {
  H2Options hasty;
  hasty.preface_timeout = 20ms;
  RawClient client(test, testing::echo, hasty);
  client.tasks.spawn(send_what_goes(*test.loop, *client.raw, std::move(bytes)));
  static_cast<void>(co_await read_until_over(*client.raw));
  co_await client.tasks.join();
  EXPECT_EQ(client.end->error().code, Code::kTimeout);
}
TEST_P(H2BoundsTest, APeerThatDoesNotSendItsPrefaceInTimeIsDropped) {
  run(too_slow(*this, ""));
  run(too_slow(*this, "P"));
  run(too_slow(*this, std::string(kPreface)));
  run(too_slow(*this, std::string(kPreface) + settings_frame().substr(0, 5)));
}

Task<void> silent(H2BoundsTest& test) {
  H2Options options;
  options.ping_every = 10ms;
  options.ping_timeout = 20ms;
  RawClient client(test, testing::echo, options);
  client.tasks.spawn(
      send_what_goes(*test.loop, *client.raw, std::string(kPreface) + settings_frame()));
  static_cast<void>(co_await read_until_over(*client.raw));
  co_await client.tasks.join();
  EXPECT_EQ(client.end->error().code, Code::kTimeout);
}
TEST_P(H2BoundsTest, APeerThatAnswersNoPingIsDropped) { run(silent(*this)); }

Task<void> resets(H2BoundsTest& test) {
  RawClient client(test, testing::echo);
  client.tasks.spawn(swallow(*client.raw));
  Result<void> sent =
      co_await send(*test.loop, *client.raw, std::string(kPreface) + settings_frame());
  for (uint32_t stream = 1; stream < 20'000 && sent;) {
    std::string bytes;
    for (int i = 0; i < 50; ++i, stream += 2) {
      bytes += headers_frame(stream, kConnect) + testing::reset_frame(stream, 8);
    }
    sent = co_await send(*test.loop, *client.raw, bytes);
    co_await test.turns(3);
  }
  client.raw->abort();
  co_await client.tasks.join();
  EXPECT_GE(client.requests, H2Session::kResetsBurst);
  EXPECT_LT(client.requests, 5'000U);
  EXPECT_EQ(client.server->streams(), 0U);
}
TEST_P(H2BoundsTest, TenThousandResetsAreCutOff) { run(resets(*this)); }

// A peer that asks for answers and reads none of them.
Task<void> never_reads(H2BoundsTest& test) {
  RawClient client(test, testing::echo);
  const std::string ping = frame(FrameType::kPing, 0, 0, "12345678");
  std::string pings;
  for (int i = 0; i < 3000; ++i) pings += ping;
  Result<void> sent =
      co_await send(*test.loop, *client.raw, std::string(kPreface) + settings_frame());
  size_t rounds = 0;
  for (; sent && rounds < 2000; ++rounds) sent = co_await send(*test.loop, *client.raw, pings);
  EXPECT_FALSE(sent.has_value());
  client.raw->abort();
  co_await client.tasks.join();
  EXPECT_EQ(client.end->error().code, Code::kInvalid) << client.end->error().to_string();
}
TEST_P(H2BoundsTest, APeerThatPingsAndNeverReadsIsDropped) { run(never_reads(*this)); }

// A request that crosses the first GOAWAY is served, and the last GOAWAY names it.
Task<void> crossing_drain(H2BoundsTest& test) {
  RawClient client(test, testing::echo);
  ByteStream& raw = *client.raw;
  EXPECT_TRUE((co_await send(*test.loop, raw, std::string(kPreface) + settings_frame())));
  co_await client.server->wait_settings();
  client.server->drain();
  std::string seen;
  std::optional<testing::RawFrame> ping;
  while (!ping) {
    seen += *co_await read_some(raw, 1);
    for (const testing::RawFrame& one : testing::parse_frames(seen)) {
      if (one.type == FrameType::kPing) ping = one;
    }
  }
  EXPECT_TRUE((co_await send(*test.loop, raw,
                             headers_frame(1, kConnect, testing::kEndStream) +
                                 frame(FrameType::kPing, testing::kAck, 0, ping->payload))));
  seen += co_await read_until_over(raw);
  client.raw.reset();
  co_await client.tasks.join();
  EXPECT_TRUE(client.end->has_value()) << client.end->error().to_string();
  EXPECT_EQ(client.requests, 1U);
  std::vector<std::string> last_streams;
  bool answered = false;
  for (const testing::RawFrame& one : testing::parse_frames(seen)) {
    if (one.type == FrameType::kGoaway) last_streams.push_back(one.payload.substr(0, 4));
    answered = answered || (one.type == FrameType::kHeaders && one.stream == 1);
  }
  EXPECT_TRUE(answered);
  EXPECT_EQ(last_streams.front(), testing::big_endian(0x7fffffff, 4));
  EXPECT_EQ(last_streams.back(), testing::big_endian(1, 4));
}
TEST_P(H2BoundsTest, ARequestThatCrossesADrainIsServed) { run(crossing_drain(*this)); }

INSTANTIATE_TEST_SUITE_P(Over, H2BoundsTest,
                         ::testing::Values(Transport::kMemory, Transport::kEpollSockets,
                                           Transport::kUringSockets),
                         [](const auto& info) { return testing::to_string(info.param); });

}  // namespace
}  // namespace weft::http
