#include "ztunnel/role/relay.h"

#include "tests/support/transports.h"
#include "ztunnel/runtime/loop.h"
#include "ztunnel/runtime/memory_pipe.h"
#include "ztunnel/runtime/sync.h"

#include <gtest/gtest.h>

#include <csignal>
#include <string>

namespace weft::role {
namespace {

using runtime::Buffer;
using runtime::ByteStream;
using runtime::Task;

constexpr size_t kChunkBytes = 32 * 1024;
constexpr size_t kBulkBytes = 8'000'000;
constexpr size_t kFloodBytes = 64'000'000;  // more than the kernel holds for four sockets

// client <-> (near, far of pipe 1) relay (near, far of pipe 2) <-> server
// Over sockets, bulk is moved inside the kernel.
class RelayTest : public ::testing::TestWithParam<testing::Transport> {
 public:
  void SetUp() override {
    std::signal(SIGPIPE, SIG_IGN);  // as run_node()
    auto made = testing::make_loop(GetParam());
    if (!made) GTEST_SKIP() << made.error().to_string();
    loop_ = std::move(*made);
    std::tie(client_, downstream_) = testing::make_pair(*loop_, GetParam());
    std::tie(upstream_, server_) = testing::make_pair(*loop_, GetParam());
  }
  bool over_memory() const { return GetParam() == testing::Transport::kMemory; }

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

TEST_P(RelayTest, CopiesBothWaysAndCounts) {
  struct Scenario {
    static Task<void> run(RelayTest* test) {
      const std::string request = pattern(kBulkBytes);
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
  EXPECT_EQ(bytes_.sent, kBulkBytes);
  EXPECT_EQ(bytes_.received, 6U);
}

TEST_P(RelayTest, ServerMaySpeakFirstAndEndFirst) {
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

TEST_P(RelayTest, ResetOfOneSideBreaksTheOther) {
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

TEST_P(RelayTest, AReaderThatStopsStopsTheWriter) {
  struct Scenario {
    static Task<void> run(RelayTest* test) {
      runtime::TaskScope scope;
      scope.spawn(flood(test));
      // Let everything that can move without a reader move.
      uint64_t before = 1;
      while (before != test->bytes_.sent) {
        before = test->bytes_.sent;
        for (int i = 0; i < 1000; ++i) co_await test->loop_->sleep(std::chrono::milliseconds(0));
      }
      const uint64_t stalled_at = test->bytes_.sent;
      for (int i = 0; i < 1000; ++i) co_await test->loop_->sleep(std::chrono::milliseconds(0));
      EXPECT_EQ(test->bytes_.sent, stalled_at);
      // The second pipe and the one buffer in the relay's hand: no more is taken from the client.
      if (test->over_memory()) {
        EXPECT_LE(stalled_at, runtime::kMemoryPipeBytes + runtime::BufferPool::kBufferBytes);
      }
      EXPECT_LT(stalled_at, kFloodBytes);
      EXPECT_GT(stalled_at, 0U);
      const std::string all = co_await test->read_all(*test->server_);
      EXPECT_EQ(all, pattern(kFloodBytes));
      test->server_->abort();
      co_await scope.join();
    }
    static Task<void> flood(RelayTest* test) {
      co_await test->send(*test->client_, pattern(kFloodBytes));
      EXPECT_TRUE((co_await test->client_->shutdown_write()).has_value());
    }
  };
  run(Scenario::run(this));
}

TEST_P(RelayTest, ResetInTheMiddleOfBulkBreaksTheOther) {
  struct Scenario {
    static Task<void> run(RelayTest* test) {
      runtime::TaskScope scope;
      scope.spawn(flood(test));
      size_t seen = 0;
      while (seen < kBulkBytes) {
        Result<Buffer> bytes = co_await test->server_->read();
        EXPECT_TRUE(bytes && !bytes->empty());
        if (!bytes || bytes->empty()) co_return;
        seen += bytes->size();
      }
      test->server_->abort();
      co_await scope.join();
    }
    static Task<void> flood(RelayTest* test) {
      while (true) {
        Buffer chunk = test->loop_->buffers().copy_of(pattern(kChunkBytes));
        const Result<void> written = co_await test->client_->write(std::move(chunk));
        if (!written) co_return;
      }
    }
  };
  run(Scenario::run(this));
  EXPECT_TRUE(broken_.has_value());
}

INSTANTIATE_TEST_SUITE_P(Over, RelayTest,
                         ::testing::Values(testing::Transport::kMemory,
                                           testing::Transport::kEpollSockets,
                                           testing::Transport::kUringSockets),
                         [](const auto& info) { return testing::to_string(info.param); });

}  // namespace
}  // namespace weft::role
