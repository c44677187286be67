#include "ztunnel/http/h2_session.h"

#include "tests/unit/ztunnel/http/h2/raw_frames.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

namespace weft::http {
namespace {

using runtime::Buffer;
using runtime::BufferPool;
using testing::Fields;
using testing::frame;
using testing::FrameType;
using ::testing::HasSubstr;
using testing::headers_frame;
using testing::kEndHeaders;
using testing::kEndStream;
using testing::kPreface;
using testing::parse_frames;
using testing::RawFrame;
using testing::settings_frame;

const Fields kConnect{{":method", "CONNECT"}, {":authority", "10.0.0.1:80"}};

// Notes what it is told; sends `to_send` of each stream.
class Observer final : public H2Observer {
 public:
  explicit Observer(BufferPool& its_pool) : pool(its_pool) {}
  void on_settings() override { ++settings; }
  void on_headers(int32_t stream, std::vector<Header> headers) override {
    blocks[stream].push_back(std::move(headers));
  }
  void on_data(int32_t stream, const Buffer& source, size_t offset, size_t size) override {
    data[stream] += source.text().substr(offset, size);
  }
  void on_end(int32_t stream) override { ended.push_back(stream); }
  void on_end_sent(int32_t stream) override { ends_sent.push_back(stream); }
  void on_closed(int32_t stream, uint32_t error) override { closed[stream] = error; }
  void on_goaway() override { ++goaways; }
  void on_ping_answered(Ping ping) override { pings.push_back(ping); }
  Outgoing outgoing_ready(int32_t stream, size_t size) override {
    const size_t bytes = std::min(size, to_send[stream].size());
    return {bytes, bytes == to_send[stream].size()};
  }
  void take_outgoing(int32_t stream, size_t size, PieceList& into) override {
    std::string& text = to_send[stream];
    into.add(pool.copy_of(text.substr(0, size)));
    text.erase(0, size);
  }

  BufferPool& pool;
  int settings = 0;
  int goaways = 0;
  std::map<int32_t, std::vector<std::vector<Header>>> blocks;
  std::map<int32_t, std::string> data;
  std::map<int32_t, std::string> to_send;
  std::vector<int32_t> ended;
  std::vector<int32_t> ends_sent;
  std::map<int32_t, uint32_t> closed;
  std::vector<Ping> pings;
};

class H2SessionTest : public ::testing::Test {
 public:
  Result<void> feed(std::string_view bytes) {
    for (size_t at = 0; at < bytes.size(); at += BufferPool::kBufferBytes) {
      TRY(server.feed(pool.copy_of(bytes.substr(at, BufferPool::kBufferBytes))));
    }
    return {};
  }
  std::string produce() {
    PieceList list(pool);
    EXPECT_TRUE(server.produce(list).has_value());
    std::string some;
    for (const Buffer& piece : list.pieces()) some += piece.text();
    EXPECT_EQ(some.size(), list.size());
    return some;
  }
  std::string produce_all() {
    std::string all;
    while (true) {
      const std::string some = produce();
      if (some.empty()) return all;
      all += some;
    }
  }
  void open() {
    ASSERT_TRUE(feed(kPreface).has_value());
    ASSERT_TRUE(feed(settings_frame()).has_value());
    produce_all();
    ASSERT_TRUE(feed(frame(FrameType::kSettings, testing::kAck, 0, "")).has_value());
  }

  BufferPool pool;
  Observer seen{pool};
  H2Session server{H2Role::kServer, {}, seen};
};

std::vector<RawFrame> of_type(const std::vector<RawFrame>& frames, FrameType type) {
  std::vector<RawFrame> some;
  for (const RawFrame& one : frames) {
    if (one.type == type) some.push_back(one);
  }
  return some;
}

TEST_F(H2SessionTest, SaysItsSettingsAndWindowsFirst) {
  const std::vector<RawFrame> frames = parse_frames(produce_all());
  ASSERT_EQ(frames.size(), 2U);
  EXPECT_EQ(frames[0].type, FrameType::kSettings);
  using testing::big_endian;
  EXPECT_THAT(frames[0].payload, HasSubstr(big_endian(3, 2) + big_endian(200, 4)));
  EXPECT_THAT(frames[0].payload, HasSubstr(big_endian(4, 2) + big_endian(256U << 10, 4)));
  EXPECT_THAT(frames[0].payload, HasSubstr(big_endian(6, 2) + big_endian(64U << 10, 4)));
  EXPECT_EQ(frames[1].type, FrameType::kWindowUpdate);
  EXPECT_EQ(frames[1].payload, big_endian((16U << 20) - 65535, 4));
}

TEST_F(H2SessionTest, TakesAConnectAndItsBytes) {
  open();
  ASSERT_TRUE(feed(headers_frame(1, kConnect)).has_value());
  ASSERT_TRUE(feed(frame(FrameType::kData, 0, 1, "hello ")).has_value());
  ASSERT_TRUE(feed(frame(FrameType::kData, kEndStream, 1, "world")).has_value());
  EXPECT_EQ(seen.settings, 1);
  ASSERT_EQ(seen.blocks[1].size(), 1U);
  EXPECT_EQ(find_header(seen.blocks[1][0], ":authority"), "10.0.0.1:80");
  EXPECT_EQ(seen.data[1], "hello world");
  EXPECT_THAT(seen.ended, ::testing::ElementsAre(1));
}

TEST_F(H2SessionTest, OneDataFrameIsOneRecord) {
  open();
  ASSERT_TRUE(feed(frame(FrameType::kWindowUpdate, 0, 0, testing::big_endian(1U << 24, 4))));
  ASSERT_TRUE(feed(headers_frame(1, kConnect)).has_value());
  ASSERT_TRUE(feed(frame(FrameType::kWindowUpdate, 0, 1, testing::big_endian(1U << 24, 4))));
  produce_all();
  std::string text(300'000, 'x');
  for (size_t i = 0; i < text.size(); ++i) text[i] = static_cast<char>('a' + i % 23);
  seen.to_send[1] = text;
  ASSERT_TRUE(server.submit_response(1, {{":status", "200"}}, false).has_value());
  std::string all;
  while (true) {
    const std::string some = produce();
    if (some.empty()) break;
    EXPECT_LE(some.size(), H2Session::kProduceBytes + 16384);
    all += some;
  }
  std::string got;
  const std::vector<RawFrame> data = of_type(parse_frames(all), FrameType::kData);
  for (size_t i = 0; i < data.size(); ++i) {
    EXPECT_LE(data[i].payload.size(), H2Session::kDataBytesMax);
    if (i + 1 < data.size()) EXPECT_EQ(data[i].payload.size(), H2Session::kDataBytesMax);
    got += data[i].payload;
  }
  EXPECT_EQ(got, text);
  EXPECT_EQ(data.back().flags, kEndStream);
  EXPECT_THAT(seen.ends_sent, ::testing::ElementsAre(1));
}

TEST_F(H2SessionTest, AHeaderBlockOfOurOwnMayBeLongerThanAFrame) {
  open();
  ASSERT_TRUE(feed(headers_frame(1, kConnect)).has_value());
  produce_all();
  // Digits compress to 5 bits each at best.
  const std::string long_value(40'000, '~');
  ASSERT_TRUE(
      server.submit_response(1, {{":status", "200"}, {"baggage", long_value}}, true).has_value());
  const std::vector<RawFrame> frames = parse_frames(produce_all());
  ASSERT_GE(frames.size(), 3U);
  EXPECT_EQ(frames[0].type, FrameType::kHeaders);
  EXPECT_EQ(frames[1].type, FrameType::kContinuation);
}

TEST_F(H2SessionTest, AHeaderThatCannotBeSentIsRefused) {
  open();
  ASSERT_TRUE(feed(headers_frame(1, kConnect)).has_value());
  const Result<void> submitted =
      server.submit_response(1, {{":status", "200"}, {"baggage", "a\r\nb: c"}}, true);
  ASSERT_FALSE(submitted.has_value());
  EXPECT_EQ(submitted.error().code, Code::kInvalid);
  EXPECT_FALSE(server.submit_response(1, {{"Upper", "x"}}, true).has_value());
}

TEST_F(H2SessionTest, GarbageIsNoPreface) {
  const Result<void> fed = feed("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  ASSERT_FALSE(fed.has_value());
  EXPECT_EQ(fed.error().code, Code::kInvalid);
  EXPECT_TRUE(server.is_finished());
  EXPECT_FALSE(server.wants_write());
}

TEST_F(H2SessionTest, ABrokenFrameEndsTheSessionWithAGoaway) {
  open();
  produce_all();
  ASSERT_TRUE(feed(frame(FrameType::kData, 0, 0, "on stream 0")).has_value());
  const std::vector<RawFrame> frames = of_type(parse_frames(produce_all()), FrameType::kGoaway);
  ASSERT_EQ(frames.size(), 1U);
  EXPECT_TRUE(server.is_finished());
  ASSERT_TRUE(server.failure().has_value());
  EXPECT_EQ(server.failure()->code, Code::kInvalid);
}

TEST_F(H2SessionTest, AHeaderListOverTheLimitResetsItsStream) {
  open();
  Fields fields = kConnect;
  for (int i = 0; i < 5; ++i)
    fields.emplace_back("x-" + std::to_string(i), std::string(13'500, 'v'));
  const std::string block = testing::header_block(fields);
  ASSERT_GT(block.size(), 64U * 1024);
  std::string frames = frame(FrameType::kHeaders, 0, 1, std::string_view(block).substr(0, 16384));
  for (size_t at = 16384; at < block.size(); at += 16384) {
    const bool last = at + 16384 >= block.size();
    frames += frame(FrameType::kContinuation, last ? kEndHeaders : 0, 1,
                    std::string_view(block).substr(at, 16384));
  }
  ASSERT_TRUE(feed(frames).has_value());
  EXPECT_FALSE(seen.blocks.contains(1));
  const auto resets = of_type(parse_frames(produce_all()), FrameType::kReset);
  ASSERT_EQ(resets.size(), 1U);
  EXPECT_EQ(resets[0].stream, 1U);
  // The connection goes on.
  ASSERT_TRUE(feed(headers_frame(3, kConnect)).has_value());
  EXPECT_TRUE(seen.blocks.contains(3));
}

TEST_F(H2SessionTest, ManySmallFieldsResetTheirStream) {
  open();
  Fields fields = kConnect;
  for (size_t i = 0; i < H2Session::kHeadersMax; ++i) fields.emplace_back("x", "y");
  ASSERT_TRUE(feed(headers_frame(1, fields)).has_value());
  EXPECT_FALSE(seen.blocks.contains(1));
  EXPECT_EQ(of_type(parse_frames(produce_all()), FrameType::kReset).size(), 1U);
}

// One field in HPACK's table, named again a thousand times: 4 MB from a few bytes.
TEST_F(H2SessionTest, AnHpackBombIsCutOff) {
  open();
  std::string block = testing::header_block(kConnect);
  block += '\x40' + testing::hpack_length(1) + "x" + testing::hpack_length(3900) +
           std::string(3900, 'v');
  block += std::string(10'000, '\xbe');  // index 62, the field above
  ASSERT_TRUE(feed(frame(FrameType::kHeaders, kEndHeaders, 1, block)).has_value());
  EXPECT_FALSE(seen.blocks.contains(1));
  EXPECT_EQ(of_type(parse_frames(produce_all()), FrameType::kReset).size(), 1U);
}

TEST_F(H2SessionTest, AMegabyteOfContinuationsEndsTheSession) {
  open();
  std::string frames = frame(FrameType::kHeaders, 0, 1, testing::header_block(kConnect));
  Result<void> fed = feed(frames);
  const std::string piece = testing::header_block({{"x", std::string(16'000, 'v')}});
  size_t sent = 0;
  while (fed && !server.is_finished() && sent < (1U << 20)) {
    fed = feed(frame(FrameType::kContinuation, 0, 1, piece));
    sent += piece.size();
    produce_all();
  }
  EXPECT_LT(sent, 256U << 10);
  EXPECT_TRUE(server.is_finished());
  EXPECT_TRUE(server.failure().has_value());
}

TEST_F(H2SessionTest, APingFloodOfAPeerThatDoesNotReadEndsTheSession) {
  open();
  Result<void> fed;
  size_t pings = 0;
  while (fed && pings < 100'000) {
    fed = feed(frame(FrameType::kPing, 0, 0, "12345678"));
    ++pings;
  }
  EXPECT_FALSE(fed.has_value());
  EXPECT_LE(pings, H2Session::kOutboundAcksMax + 2);
}

// Before it has acknowledged our settings it may not know the limit: each is refused.
TEST_F(H2SessionTest, RefusedStreamsOfAPeerThatDoesNotReadEndTheSession) {
  ASSERT_TRUE(feed(kPreface).has_value());
  ASSERT_TRUE(feed(settings_frame()).has_value());
  Result<void> fed;
  uint32_t stream = 1;
  while (fed && stream < 200'000) {
    fed = feed(headers_frame(stream, kConnect));
    stream += 2;
  }
  ASSERT_FALSE(fed.has_value());
  EXPECT_EQ(fed.error().code, Code::kLimit);
  EXPECT_EQ(seen.blocks.size(), 200U);
}

TEST_F(H2SessionTest, MoreStreamsThanThePeerKnowsWeTakeEndTheSession) {
  open();
  for (uint32_t stream = 1; stream <= 401; stream += 2) {
    ASSERT_TRUE(feed(headers_frame(stream, kConnect)).has_value());
  }
  EXPECT_EQ(seen.blocks.size(), 200U);
  EXPECT_EQ(of_type(parse_frames(produce_all()), FrameType::kGoaway).size(), 1U);
  EXPECT_TRUE(server.failure().has_value());
}

TEST_F(H2SessionTest, TakesLargeFrames) {
  open();
  ASSERT_TRUE(feed(headers_frame(1, kConnect)).has_value());
  const std::string large(1U << 20, 'x');
  ASSERT_TRUE(feed(frame(FrameType::kData, 0, 1, large)).has_value());
  EXPECT_EQ(seen.data[1], large);
}

TEST_F(H2SessionTest, ResetsOverTheRateGetAGoawayAndOpenStreamsGoOn) {
  open();
  ASSERT_TRUE(feed(headers_frame(1, kConnect)).has_value());
  size_t answered = 0;
  std::string sent;
  for (uint32_t stream = 3; stream < 20'003 && seen.blocks.size() == 1 + answered; stream += 2) {
    ASSERT_TRUE(feed(headers_frame(stream, kConnect)).has_value());
    ASSERT_TRUE(feed(testing::reset_frame(stream, 8)).has_value());
    if (seen.blocks.contains(static_cast<int32_t>(stream))) ++answered;
    sent += produce_all();
  }
  EXPECT_GE(answered, H2Session::kResetsBurst);
  EXPECT_LE(answered, H2Session::kResetsBurst + 1000);
  const auto goaways = of_type(parse_frames(sent), FrameType::kGoaway);
  ASSERT_EQ(goaways.size(), 1U);
  EXPECT_FALSE(server.is_finished());
  ASSERT_TRUE(feed(frame(FrameType::kData, 0, 1, "still here")).has_value());
  EXPECT_EQ(seen.data[1], "still here");
}

TEST_F(H2SessionTest, WindowsOpenOnlyByWhatIsConsumed) {
  open();
  ASSERT_TRUE(feed(headers_frame(1, kConnect)).has_value());
  produce_all();
  const std::string chunk(16384, 'x');
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(feed(frame(FrameType::kData, 0, 1, chunk)));
  EXPECT_TRUE(of_type(parse_frames(produce_all()), FrameType::kWindowUpdate).empty());
  server.consume_stream(1, 10 * chunk.size());
  const auto updates = of_type(parse_frames(produce_all()), FrameType::kWindowUpdate);
  ASSERT_EQ(updates.size(), 1U);
  EXPECT_EQ(updates[0].stream, 1U);
}

TEST_F(H2SessionTest, AWindowIsMadeWider) {
  open();
  ASSERT_TRUE(feed(headers_frame(1, kConnect)).has_value());
  produce_all();
  const size_t window = H2Limits().stream_window_bytes;
  server.set_stream_window(1, 2 * window);
  const auto updates = of_type(parse_frames(produce_all()), FrameType::kWindowUpdate);
  ASSERT_EQ(updates.size(), 1U);
  EXPECT_EQ(updates[0].payload, testing::big_endian(static_cast<uint32_t>(window), 4));
  const std::string chunk(16384, 'x');
  for (size_t sent = 0; sent < 2 * window; sent += chunk.size()) {
    ASSERT_TRUE(feed(frame(FrameType::kData, 0, 1, chunk)));
  }
  EXPECT_EQ(seen.data[1].size(), 2 * window);
}

TEST_F(H2SessionTest, MoreThanTheWindowIsAFlowControlError) {
  open();
  ASSERT_TRUE(feed(headers_frame(1, kConnect)).has_value());
  produce_all();
  const std::string chunk(16384, 'x');
  const size_t window = H2Limits().stream_window_bytes;
  for (size_t sent = 0; sent <= window; sent += chunk.size()) {
    ASSERT_TRUE(feed(frame(FrameType::kData, 0, 1, chunk)));
  }
  const std::vector<RawFrame> answer = parse_frames(produce_all());
  EXPECT_EQ(of_type(answer, FrameType::kReset).size() + of_type(answer, FrameType::kGoaway).size(),
            1U);
  EXPECT_LE(seen.data[1].size(), window + chunk.size());
}

// What each of these does to one stream, the connection survives.
TEST_F(H2SessionTest, MalformedRequestsAreReset) {
  const std::vector<Fields> malformed{
      {{":method", "CONNECT"}},                                         // no authority
      {{":method", "CONNECT"}, {":authority", "a:1"}, {":path", "/"}},  // not a plain CONNECT
      {{":method", "CONNECT"}, {":authority", "a:1"}, {":scheme", "https"}},
      {{":authority", "a:1"}},
      {{":method", "CONNECT"}, {":method", "CONNECT"}, {":authority", "a:1"}},
      {{":method", "CONNECT"}, {":authority", "a:1"}, {"Upper", "x"}},
      {{":method", "CONNECT"}, {":authority", "a:1"}, {"x", "a\nb"}},
      {{":method", "CONNECT"}, {":authority", "a:1"}, {"connection", "close"}},
      {{"x", "y"}, {":method", "CONNECT"}, {":authority", "a:1"}},  // pseudo after regular
      {{":method", "CONNECT"}, {":authority", "a b:1"}},
      {{":method", "GET"}, {":authority", "a"}, {":path", "/"}},  // no scheme
  };
  open();
  produce_all();
  uint32_t stream = 1;
  for (const Fields& fields : malformed) {
    ASSERT_TRUE(feed(headers_frame(stream, fields)).has_value());
    EXPECT_FALSE(seen.blocks.contains(static_cast<int32_t>(stream))) << stream;
    const auto resets = of_type(parse_frames(produce_all()), FrameType::kReset);
    ASSERT_EQ(resets.size(), 1U) << stream;
    EXPECT_EQ(resets[0].stream, stream);
    stream += 2;
  }
  ASSERT_TRUE(feed(headers_frame(stream, kConnect)).has_value());
  EXPECT_TRUE(seen.blocks.contains(static_cast<int32_t>(stream)));
}

TEST_F(H2SessionTest, APingSaysWhatItWasFor) {
  open();
  produce_all();
  server.ping(Ping::kDrain);
  const auto pings = of_type(parse_frames(produce_all()), FrameType::kPing);
  ASSERT_EQ(pings.size(), 1U);
  ASSERT_TRUE(feed(frame(FrameType::kPing, testing::kAck, 0, pings[0].payload)).has_value());
  EXPECT_THAT(seen.pings, ::testing::ElementsAre(Ping::kDrain));
}

}  // namespace
}  // namespace weft::http
