#include "ztunnel/node/relay.h"

#include "ztunnel/runtime/loop.h"
#include "ztunnel/runtime/memory_pipe.h"
#include "ztunnel/runtime/sync.h"

#include <gtest/gtest.h>

#include <string>

namespace weft::node {
namespace {

using runtime::Buffer;
using runtime::ByteStream;
using runtime::Task;

constexpr size_t kChunkBytes = 32 * 1024;

// client <-> (near, far of pipe 1) relay (near, far of pipe 2) <-> server
class RelayTest : public ::testing::Test {
 public:
  RelayTest() : loop_(runtime::Loop::create(runtime::Backend::kEpoll).value()) {
    std::tie(client_, downstream_) = runtime::make_memory_pipe();
    std::tie(upstream_, server_) = runtime::make_memory_pipe();
  }

  void run(Task<void> scenario) {
    loop_->spawn(finish(std::move(scenario)));
    loop_->run();
  }
  Task<void> finish(Task<void> scenario) {
    runtime::TaskScope scope;
    scope.spawn(carry());
    co_await std::move(scenario);
    co_await scope.join();
    loop_->stop();
  }
  Task<void> carry() {
    broken_ = co_await relay(*downstream_, *upstream_, bytes_);
    relayed_ = true;
    downstream_.reset();
    upstream_.reset();
  }

  Task<std::string> read_all(ByteStream& stream) {
    std::string all;
    while (true) {
      Result<Buffer> bytes = co_await stream.read();
      if (!bytes || bytes->empty()) co_return all;
      all += bytes->text();
    }
  }
  Task<void> send(ByteStream& stream, std::string text) {
    for (size_t at = 0; at < text.size(); at += kChunkBytes) {
      Buffer chunk = loop_->buffers().copy_of(std::string_view(text).substr(at, kChunkBytes));
      EXPECT_TRUE((co_await stream.write(std::move(chunk))).has_value());
    }
  }

  std::unique_ptr<runtime::Loop> loop_;
  std::unique_ptr<ByteStream> client_, downstream_, upstream_, server_;
  RelayBytes bytes_;
  std::optional<Error> broken_;
  bool relayed_ = false;
};

std::string pattern(size_t size) {
  std::string text(size, '\0');
  for (size_t i = 0; i < size; ++i) text[i] = static_cast<char>('a' + i * 31 % 26);
  return text;
}

TEST_F(RelayTest, CopiesBothWaysAndCounts) {
  struct Scenario {
    static Task<void> run(RelayTest* test) {
      const std::string request = pattern(1'000'000);
      runtime::TaskScope scope;
      scope.spawn(client(test, request));
      EXPECT_EQ(co_await test->read_all(*test->server_), request);
      co_await test->send(*test->server_, "answer");
      EXPECT_TRUE((co_await test->server_->shutdown_write()).has_value());
      co_await scope.join();
    }
    static Task<void> client(RelayTest* test, std::string request) {
      co_await test->send(*test->client_, request);
      EXPECT_TRUE((co_await test->client_->shutdown_write()).has_value());
      EXPECT_EQ(co_await test->read_all(*test->client_), "answer");
    }
  };
  run(Scenario::run(this));
  EXPECT_TRUE(relayed_);
  EXPECT_FALSE(broken_.has_value());
  EXPECT_EQ(bytes_.sent, 1'000'000U);
  EXPECT_EQ(bytes_.received, 6U);
}

TEST_F(RelayTest, ServerMaySpeakFirstAndEndFirst) {
  struct Scenario {
    static Task<void> run(RelayTest* test) {
      co_await test->send(*test->server_, "220 ready");
      EXPECT_TRUE((co_await test->server_->shutdown_write()).has_value());
      EXPECT_EQ(co_await test->read_all(*test->client_), "220 ready");
      // The client's side is still open after the server's has ended.
      co_await test->send(*test->client_, "late");
      EXPECT_TRUE((co_await test->client_->shutdown_write()).has_value());
      EXPECT_EQ(co_await test->read_all(*test->server_), "late");
    }
  };
  run(Scenario::run(this));
  EXPECT_FALSE(broken_.has_value());
}

TEST_F(RelayTest, ResetOfOneSideBreaksTheOther) {
  struct Scenario {
    static Task<void> run(RelayTest* test) {
      co_await test->send(*test->client_, "x");
      test->client_->abort();
      while (true) {
        Result<Buffer> bytes = co_await test->server_->read();
        if (!bytes) {
          EXPECT_EQ(bytes.error().code, Code::kReset);
          co_return;
        }
        EXPECT_FALSE(bytes->empty()) << "a reset must not look like an orderly end";
        if (bytes->empty()) co_return;
      }
    }
  };
  run(Scenario::run(this));
  ASSERT_TRUE(broken_.has_value());
  EXPECT_EQ(broken_->code, Code::kReset);
}

TEST_F(RelayTest, AReaderThatStopsStopsTheWriter) {
  struct Scenario {
    static Task<void> run(RelayTest* test) {
      runtime::TaskScope scope;
      scope.spawn(flood(test));
      // Let everything that can move without a reader move.
      for (int i = 0; i < 1000; ++i) co_await test->loop_->sleep(std::chrono::milliseconds(0));
      const uint64_t stalled_at = test->bytes_.sent;
      for (int i = 0; i < 1000; ++i) co_await test->loop_->sleep(std::chrono::milliseconds(0));
      EXPECT_EQ(test->bytes_.sent, stalled_at);
      // The second pipe and the one buffer in the relay's hand: no more is taken from the client.
      EXPECT_LE(stalled_at, runtime::kMemoryPipeBytes + runtime::BufferPool::kBufferBytes);
      EXPECT_GT(stalled_at, 0U);
      const std::string all = co_await test->read_all(*test->server_);
      EXPECT_EQ(all, pattern(4'000'000));
      test->server_->abort();
      co_await scope.join();
    }
    static Task<void> flood(RelayTest* test) {
      co_await test->send(*test->client_, pattern(4'000'000));
      EXPECT_TRUE((co_await test->client_->shutdown_write()).has_value());
    }
  };
  run(Scenario::run(this));
}

}  // namespace
}  // namespace weft::node
