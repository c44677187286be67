#include "ztunnel/waypoint/sniffed_stream.h"

#include "tests/support/run_task.h"
#include "ztunnel/runtime/memory_pipe.h"

#include <gtest/gtest.h>

namespace weft::waypoint {
namespace {

using runtime::Task;

constexpr std::chrono::milliseconds kSoon{20};
constexpr std::chrono::milliseconds kLong{5'000};

void run(Task<void> (*scenario)(runtime::Loop&)) {
  const auto loop = runtime::Loop::create(runtime::Backend::kEpoll);
  ASSERT_TRUE(loop) << loop.error().to_string();
  weft::testing::run(**loop, scenario(**loop));
}

Task<void> say(runtime::Loop& loop, runtime::ByteStream& to, std::string text) {
  (void)co_await to.write(loop.buffers().copy_of(text));
}

Task<std::string> read_one(SniffedStream& from) {
  auto bytes = co_await from.read();
  co_return bytes ? std::string(bytes->text()) : "error";
}

Task<void> http_in_pieces(runtime::Loop& loop) {
  auto [client, server] = runtime::make_memory_pipe();
  SniffedStream stream(loop, std::move(server));
  co_await say(loop, *client, "GE");
  co_await say(loop, *client, "T /");
  const auto spoken = co_await stream.sniffed(kLong);
  EXPECT_EQ(spoken, Spoken::kHttp1);
  EXPECT_EQ(co_await read_one(stream) + co_await read_one(stream), "GET /");
  co_await stream.close();
}

TEST(SniffedStream, HttpIsKnownByItsFirstBytesAndReadWhole) { run(http_in_pieces); }

Task<void> other(runtime::Loop& loop) {
  auto [client, server] = runtime::make_memory_pipe();
  SniffedStream stream(loop, std::move(server));
  co_await say(loop, *client, std::string("\x16\x03\x01", 3));
  EXPECT_EQ(co_await stream.sniffed(kLong), Spoken::kOther);
  EXPECT_EQ(co_await read_one(stream), std::string("\x16\x03\x01", 3));
  co_await stream.close();
}

TEST(SniffedStream, OtherBytesAreNot) { run(other); }

// A server that speaks first: nobody waits for the client, whose bytes still come.
Task<void> silent(runtime::Loop& loop) {
  auto [client, server] = runtime::make_memory_pipe();
  SniffedStream stream(loop, std::move(server));
  EXPECT_FALSE(co_await stream.sniffed(kSoon));
  co_await say(loop, stream, "hello");
  auto heard = co_await client->read();
  EXPECT_EQ(heard->text(), "hello");
  co_await say(loop, *client, "EHLO");
  EXPECT_EQ(co_await read_one(stream), "EHLO");
  co_await say(loop, *client, "more");
  EXPECT_EQ(co_await read_one(stream), "more");
  co_await stream.close();
}

TEST(SniffedStream, ASilentClientHoldsNothingUp) { run(silent); }

Task<void> closed(runtime::Loop& loop) {
  auto [client, server] = runtime::make_memory_pipe();
  SniffedStream stream(loop, std::move(server));
  EXPECT_FALSE(co_await stream.sniffed(kSoon));
  co_await stream.close();
  EXPECT_EQ(co_await read_one(stream), "error");
}

TEST(SniffedStream, CloseEndsWhatIsRead) { run(closed); }

}  // namespace
}  // namespace weft::waypoint
