#include "tests/unit/ztunnel/tls/record_forge.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <vector>

// Records with keys that both sides know: what a peer may send, and what it may not.

namespace weft::tls {
namespace {

using runtime::Buffer;
using runtime::BufferPool;

using namespace std::string_literals;

struct Fixture {
  explicit Fixture(Records::Side side)
      : records(side, forge_key('o'), forge_key('p'), Records::kPerKeyMax, pool, outgoing) {}

  // What it opens of these bytes, fed in buffers of `step`; the error, where there is one.
  std::string open(std::string_view bytes, size_t step = BufferPool::kBufferBytes) {
    std::string plain;
    while (!bytes.empty()) {
      const std::string_view part = bytes.substr(0, step);
      bytes.remove_prefix(part.size());
      records.feed(pool.copy_of(part));
      while (true) {
        Result<std::optional<Buffer>> some = records.open();
        if (!some) {
          error = some.error();
          return plain;
        }
        if (!*some) break;
        if ((*some)->empty()) {
          ended = true;
          return plain;
        }
        plain += (*some)->text();
      }
    }
    return plain;
  }
  // What we said, opened with our own keys: contents and inner types.
  std::vector<std::string> said() {
    std::string all;
    while (std::optional<Buffer> bytes = outgoing.take()) all += bytes->text();
    std::vector<std::string> contents;
    while (!all.empty()) {
      const size_t size =
          static_cast<size_t>(static_cast<uint8_t>(all[3])) << 8 | static_cast<uint8_t>(all[4]);
      const std::span<uint8_t> record(reinterpret_cast<uint8_t*>(all.data()), 5 + size);
      EXPECT_TRUE(our_key.cipher().open(our_key.take_nonce(), record.first(5), record.subspan(5)));
      contents.push_back(all.substr(5, size - AesGcm::kTagBytes));
      if (contents.back().ends_with('\x16')) EXPECT_TRUE(our_key.renew());
      all.erase(0, 5 + size);
    }
    return contents;
  }
  Result<void> seal(std::string_view text) {
    Buffer bytes = pool.copy_of(text);
    return records.seal({&bytes, 1});
  }

  BufferPool pool;
  Outgoing outgoing{pool};
  Records records;
  RecordForge peer;
  TrafficKey our_key = forge_key('o');
  std::optional<Error> error;
  bool ended = false;
};

class RecordsTest : public ::testing::Test, public Fixture {
 public:
  RecordsTest() : Fixture(Records::Side::kServer) {}
};

class ClientRecordsTest : public ::testing::Test, public Fixture {
 public:
  ClientRecordsTest() : Fixture(Records::Side::kClient) {}
};

TEST_F(RecordsTest, OpensRecordsHoweverTheyArrive) {
  std::string sent;
  std::string expected;
  for (const size_t size : {1, 2, 16'384, 100, 16'384, 16'384, 16'384, 16'384, 5000}) {
    expected += std::string(size, static_cast<char>('a' + expected.size() % 23));
    sent += peer.data(std::string_view(expected).substr(expected.size() - size));
  }
  EXPECT_EQ(open(sent), expected);
  for (const size_t step : {1, 5, 4096, 16'405, 16'406, 16'407, 40'000}) {
    std::string again;
    for (size_t at = 0; at < expected.size(); at += 9000) {
      again += peer.data(std::string_view(expected).substr(at, 9000));
    }
    EXPECT_EQ(open(again, step), expected) << step;
  }
  EXPECT_FALSE(error) << error->to_string();
  EXPECT_EQ(pool.in_use(), 0U);
}

TEST_F(RecordsTest, SealsAcrossPieces) {
  std::vector<Buffer> pieces;
  std::string expected;
  for (const size_t size : {9, 16'375, 1, 0, 30'000, 7, 64'000}) {
    expected += std::string(size, static_cast<char>('a' + expected.size() % 23));
    pieces.push_back(pool.copy_of(std::string_view(expected).substr(expected.size() - size)));
  }
  for (int i = 0; i < 100; ++i) {
    expected += "ab";
    pieces.push_back(pool.copy_of("ab"));
  }
  ASSERT_TRUE(records.seal(pieces));
  for (const Buffer& piece : pieces) EXPECT_TRUE(piece.empty());
  std::string got;
  const std::vector<std::string> contents = said();
  for (const std::string& content : contents) {
    EXPECT_TRUE(content.ends_with('\x17'));
    EXPECT_LE(content.size(), 16'385U);
    got += content.substr(0, content.size() - 1);
  }
  EXPECT_EQ(got, expected);
  EXPECT_EQ(contents[0].size(), 16'385U) << "a header and its payload fill a record";
}

TEST_F(RecordsTest, DropsPadding) {
  EXPECT_EQ(open(peer.sealed(std::string("text\x17") + std::string(1000, '\0'))), "text");
  EXPECT_FALSE(error);
}

TEST_F(RecordsTest, FollowsKeyUpdatesAndAnswersOnce) {
  std::string sent;
  for (int i = 0; i < 5; ++i) sent += peer.key_update(1) + peer.data("x");
  EXPECT_EQ(open(sent), "xxxxx");
  EXPECT_THAT(said(), ::testing::IsEmpty());
  ASSERT_TRUE(seal("answer"));
  ASSERT_TRUE(seal("more"));
  EXPECT_THAT(said(),
              ::testing::ElementsAre(std::string("\x18\0\0\1\0\x16", 6), "answer\x17", "more\x17"));
}

TEST_F(RecordsTest, LetsNobodyUpdateForever) {
  std::string sent;
  for (int i = 0; i <= Records::kUpdatesMax; ++i) sent += peer.key_update(0);
  open(sent);
  ASSERT_TRUE(error);
  EXPECT_EQ(error->code, Code::kLimit);
}

TEST_F(ClientRecordsTest, DropsTicketsInParts) {
  const std::string ticket = std::string("\x04\0\x01\x00", 4) + std::string(256, 't');
  std::string sent = peer.handshake(ticket + ticket.substr(0, 2));
  sent += peer.handshake(ticket.substr(2, 100));
  sent += peer.handshake(ticket.substr(102)) + peer.data("behind them");
  EXPECT_EQ(open(sent), "behind them");
}

TEST_F(RecordsTest, EndsAtCloseNotify) {
  EXPECT_EQ(open(peer.data("all") + peer.alert(1, 0) + "anything"), "all");
  EXPECT_TRUE(ended);
  ASSERT_TRUE(seal("our side goes on"));
  ASSERT_TRUE(records.end());
  EXPECT_FALSE(seal("late"));
  EXPECT_THAT(said(), ::testing::ElementsAre("our side goes on\x17", std::string("\1\0\x15", 3)));
}

struct Row {
  std::string name;
  std::string bytes;
  std::string reason;
  int alert;  // that the peer is told; 0: none
};

std::vector<Row> rows() {
  const auto by = [](auto make) {
    RecordForge forge;
    return make(forge);
  };
  using F = RecordForge&;
  const std::string big(16'385, 'x');
  return std::vector<Row>{
      {"Plain", "\x15\x03\x03\x00\x02\x02\x28"s, "record of type 21", 10},
      {"ChangeCipherSpec", "\x14\x03\x03\x00\x01\x01"s, "record of type 20", 10},
      {"Http", "GET / HTTP/1.1\r\n"s, "record of type 71", 10},
      {"TooLong", "\x17\x03\x03\x41\x01"s, "record of 16641 bytes", 22},
      {"TooShort", "\x17\x03\x03\x00\x05hello"s, "bad record mac", 20},
      {"Forged", "\x17\x03\x03\x00\x20"s + std::string(32, 'x'), "bad record mac", 20},
      {"HeaderChanged",
       by([](F f) { return f.sealed("x\x17", {"\x17\x03\x01", 3}).replace(2, 1, "\x03"); }),
       "bad record mac", 20},
      {"Replayed", by([](F f) {
         const std::string one = f.data("x");
         return one + one;
       }),
       "bad record mac", 20},
      {"TooMuchInside", by([&](F f) { return f.data(big); }), "more than 16 KiB", 22},
      {"OnlyZeros", by([](F f) { return f.sealed(std::string(9, '\0')); }), "without a type", 10},
      {"NothingAtAll", by([](F f) { return f.sealed(""); }), "without a type", 10},
      {"AnotherType", by([](F f) { return f.sealed("x\x14"); }), "unexpected record", 10},
      {"EmptyHandshake", by([](F f) { return f.sealed("\x16"); }), "unexpected record", 10},
      {"EmptyForever", by([](F f) {
         std::string all;
         for (int i = 0; i <= Records::kEmptyMax; ++i) all += f.data("");
         return all;
       }),
       "unexpected record", 10},
      {"ShortAlert", by([](F f) { return f.sealed("\x01\x15"); }), "malformed alert", 50},
      {"FatalAlert", by([](F f) { return f.alert(2, 40); }), "alert: handshake failure", 0},
      {"TicketToAServer", by([](F f) { return f.handshake("\x04\0\0\1x"s); }), "of type 4", 10},
      {"ClientHello", by([](F f) { return f.handshake("\x01\0\0\1x"s); }), "of type 1", 10},
      {"AsksForACertificate", by([](F f) { return f.handshake("\x0d\0\0\1x"s); }), "of type 13",
       10},
      {"LongUpdate", by([](F f) { return f.handshake("\x18\0\0\2\0\0"s); }), "of type 24", 10},
      {"WrongUpdate", by([](F f) { return f.handshake("\x18\0\0\1\2"s); }), "malformed key", 47},
      {"BehindAnUpdate", by([](F f) { return f.handshake("\x18\0\0\1\0\x18\0\0\1\0"s); }),
       "went on behind a key update", 10},
      {"DataAmidstAMessage", by([](F f) { return f.handshake("\x18\0\0"s) + f.data("x"); }),
       "unexpected record", 10},
      {"AlertAmidstAMessage", by([](F f) { return f.handshake("\x18"s) + f.alert(1, 0); }),
       "unexpected record", 10},
  };
}

TEST(RecordsTableTest, RefusesWhatNoPeerMaySend) {
  for (const Row& row : rows()) {
    SCOPED_TRACE(row.name);
    Fixture test(Records::Side::kServer);
    test.open(row.bytes, 3);
    ASSERT_TRUE(test.error);
    EXPECT_THAT(test.error->to_string(), ::testing::HasSubstr(row.reason));
    const std::vector<std::string> told = test.said();
    if (row.alert == 0) {
      EXPECT_THAT(told, ::testing::IsEmpty());
    } else {
      EXPECT_THAT(told,
                  ::testing::ElementsAre(std::string{'\2', static_cast<char>(row.alert), '\x15'}));
    }
    EXPECT_FALSE(test.seal("more")) << "an error is for good";
    EXPECT_FALSE(test.records.open());
    EXPECT_EQ(test.pool.in_use(), 0U);
  }
}

}  // namespace
}  // namespace weft::tls
