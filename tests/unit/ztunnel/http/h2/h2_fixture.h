#pragma once

#include "tests/unit/ztunnel/http/h2/h2_pair.h"

#include <gtest/gtest.h>

namespace weft::testing {

// A loop of each kind, and ends of a connection on it. Nothing may hold a buffer in the end.
class H2Fixture : public ::testing::TestWithParam<Transport> {
 public:
  void SetUp() override {
    Result<std::unique_ptr<runtime::Loop>> made = make_loop(GetParam());
    if (!made) {
      GTEST_SKIP() << "no " << to_string(GetParam()) << ": " << made.error().to_string();
    }
    loop = std::move(*made);
  }
  void TearDown() override {
    if (loop) EXPECT_EQ(loop->buffers().in_use(), 0U);
  }
  StreamPair ends() { return make_pair(*loop, GetParam()); }
  void run(runtime::Task<void> task) { testing::run(*loop, std::move(task)); }
  runtime::Buffer buffer(std::string_view text) { return loop->buffers().copy_of(text); }
  // Lets everything that is ready happen.
  runtime::Task<void> turns(int count = 20) {
    for (int i = 0; i < count; ++i) co_await loop->sleep(std::chrono::milliseconds(0));
  }

  std::unique_ptr<runtime::Loop> loop;
};

inline std::unique_ptr<http::H2Stream> open_stream(http::H2Connection& client) {
  Result<std::unique_ptr<http::H2Stream>> stream = client.request(connect_to("a:1"), false);
  EXPECT_TRUE(stream.has_value()) << stream.error().to_string();
  return stream ? std::move(*stream) : nullptr;
}

inline runtime::Task<void> nothing() { co_return; }

// A handler that answers 200 and gives the streams to the test.
inline H2Pair::Handler hand_over(std::vector<std::unique_ptr<http::H2Stream>>& to) {
  return [&to](std::unique_ptr<http::H2Stream> stream) {
    EXPECT_TRUE(stream->respond(ok(), false).has_value());
    to.push_back(std::move(stream));
    return nothing();
  };
}

// Sends so much on an echoing stream and reads it back.
inline runtime::Task<void> round_trip(runtime::Loop& loop, http::H2Connection& client, size_t size,
                                      uint32_t seed) {
  const std::unique_ptr<http::H2Stream> stream = open_stream(client);
  const std::string sent = pattern(size, seed);
  const Result<void> answered = co_await stream->wait_headers();
  EXPECT_TRUE(answered.has_value()) << answered.error().to_string();
  auto [wrote, got] = co_await both(send_and_end(loop, *stream, sent), read_all(*stream));
  EXPECT_TRUE(wrote.has_value()) << wrote.error().to_string();
  EXPECT_TRUE(got.has_value()) << got.error().to_string();
  EXPECT_TRUE(got && *got == sent) << "stream " << seed;
}

}  // namespace weft::testing
