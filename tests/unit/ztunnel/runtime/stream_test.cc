// What every ByteStream keeps, over a kernel socket on both backends and over the memory pipe.

#include "tests/unit/ztunnel/runtime/run.h"
#include "ztunnel/runtime/memory_pipe.h"
#include "ztunnel/runtime/sync.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <random>

namespace weft::runtime {
namespace {

enum class Medium { kTcpUring, kTcpEpoll, kUnixUring, kUnixEpoll, kMemory };

std::string name_of(Medium medium) {
  switch (medium) {
    case Medium::kTcpUring:
      return "TcpUring";
    case Medium::kTcpEpoll:
      return "TcpEpoll";
    case Medium::kUnixUring:
      return "UnixUring";
    case Medium::kUnixEpoll:
      return "UnixEpoll";
    case Medium::kMemory:
      return "Memory";
  }
  return "";
}

struct Pair {
  std::unique_ptr<ByteStream> left;
  std::unique_ptr<ByteStream> right;
};

Task<void> make_tcp_pair(Loop& loop, Pair& pair) {
  const Listening listening = listen_on_loopback();
  auto dialled = co_await dial(loop, listening.address, DialOptions{});
  EXPECT_TRUE(dialled.has_value());
  const int accepted = co_await loop.accept(listening.fd.get());
  EXPECT_GE(accepted, 0);
  pair.left = std::move(*dialled);
  pair.right = std::make_unique<SocketStream>(loop, Fd(accepted));
}

class Stream : public ::testing::TestWithParam<Medium> {
 protected:
  void SetUp() override {
    const bool uring = GetParam() == Medium::kTcpUring || GetParam() == Medium::kUnixUring;
    auto made = Loop::create(uring ? Backend::kUring : Backend::kEpoll);
    if (!made) GTEST_SKIP() << made.error().to_string();
    loop_ = std::move(*made);
    if (GetParam() == Medium::kMemory) {
      auto [left, right] = make_memory_pipe();
      pair_ = {std::move(left), std::move(right)};
    } else if (GetParam() == Medium::kTcpUring || GetParam() == Medium::kTcpEpoll) {
      run(*loop_, make_tcp_pair(*loop_, pair_));
    } else {
      auto [left, right] = unix_pair();
      pair_.left = std::make_unique<SocketStream>(*loop_, std::move(left));
      pair_.right = std::make_unique<SocketStream>(*loop_, std::move(right));
    }
  }
  void TearDown() override {
    if (!loop_) return;
    pair_ = {};
    EXPECT_EQ(loop_->buffers().in_use(), 0U);
  }
  // A unix socket cannot say "reset": there the peer sees an end.
  bool can_reset() const {
    return GetParam() != Medium::kUnixUring && GetParam() != Medium::kUnixEpoll;
  }

  std::unique_ptr<Loop> loop_;
  Pair pair_;
};

INSTANTIATE_TEST_SUITE_P(Media, Stream,
                         ::testing::Values(Medium::kTcpUring, Medium::kTcpEpoll, Medium::kUnixUring,
                                           Medium::kUnixEpoll, Medium::kMemory),
                         [](const auto& info) { return name_of(info.param); });

uint8_t byte_at(size_t position) {
  return static_cast<uint8_t>(position * 31 + (position >> 8) * 7 + (position >> 16));
}

// Writes `total` bytes of the pattern in pieces of random size, then ends its side.
Task<void> write_pattern(Loop& loop, ByteStream& stream, size_t total, size_t piece_max) {
  std::mt19937 random(static_cast<uint32_t>(total));
  size_t written = 0;
  while (written < total) {
    const size_t most = std::min({total - written, piece_max, BufferPool::kBufferBytes});
    Buffer piece = loop.buffers().get();
    const size_t size = 1 + random() % most;
    for (size_t i = 0; i < size; ++i) piece.tail()[i] = byte_at(written + i);
    piece.extend(size);
    const auto done = co_await stream.write(std::move(piece));
    EXPECT_TRUE(done.has_value()) << done.error().to_string();
    if (!done) co_return;
    written += size;
  }
  const auto ended = co_await stream.shutdown_write();
  EXPECT_TRUE(ended.has_value());
}

Task<void> read_pattern(ByteStream& stream, size_t total) {
  size_t taken = 0;
  while (true) {
    const auto bytes = co_await stream.read();
    EXPECT_TRUE(bytes.has_value()) << bytes.error().to_string();
    if (!bytes || bytes->empty()) break;
    for (size_t i = 0; i < bytes->size(); ++i) {
      if (bytes->data()[i] == byte_at(taken + i)) continue;
      ADD_FAILURE() << "wrong byte at " << taken + i;
      co_return;
    }
    taken += bytes->size();
  }
  EXPECT_EQ(taken, total);
}

Task<void> transfer(Loop& loop, ByteStream& from, ByteStream& to, size_t total, size_t piece_max) {
  TaskScope scope;
  scope.spawn(write_pattern(loop, from, total, piece_max));
  scope.spawn(read_pattern(to, total));
  co_await scope.join();
}

TEST_P(Stream, CarriesEverySizeUnchanged) {
  for (const size_t total : {1UL, 2UL, 1000UL, 65535UL, 65536UL, 65537UL, 1UL << 20, 9UL << 20}) {
    SCOPED_TRACE(total);
    TearDown();
    SetUp();
    run(*loop_, transfer(*loop_, *pair_.left, *pair_.right, total, BufferPool::kBufferBytes));
  }
}

// The pattern in groups of pieces, each group in one call.
Task<void> write_groups(Loop& loop, ByteStream& stream, size_t total) {
  constexpr std::array<size_t, 5> kSizes{1, BufferPool::kBufferBytes, 9, 16375, 30000};
  size_t written = 0;
  while (written < total) {
    std::array<Buffer, 40> pieces;  // more than go into one system call
    for (size_t i = 0; i < pieces.size(); ++i) {
      const size_t size = std::min(kSizes[i % kSizes.size()], total - written);
      pieces[i] = loop.buffers().get();
      for (size_t at = 0; at < size; ++at) pieces[i].tail()[at] = byte_at(written + at);
      pieces[i].extend(size);
      written += size;
    }
    const auto done = co_await stream.write_pieces(pieces);
    EXPECT_TRUE(done.has_value()) << done.error().to_string();
    for (const Buffer& piece : pieces) EXPECT_TRUE(piece.empty());
  }
  EXPECT_TRUE((co_await stream.shutdown_write()).has_value());
}

Task<void> transfer_groups(Loop& loop, ByteStream& from, ByteStream& to, size_t total) {
  TaskScope scope;
  scope.spawn(write_groups(loop, from, total));
  co_await read_pattern(to, total);
  co_await scope.join();
}

TEST_P(Stream, CarriesPiecesThatAreWrittenTogether) {
  run(*loop_, transfer_groups(*loop_, *pair_.left, *pair_.right, 5'000'000));
}

TEST_P(Stream, CarriesManySmallPieces) {
  run(*loop_, transfer(*loop_, *pair_.left, *pair_.right, 200'000, 100));
}

Task<void> both_ways(Loop& loop, Pair& pair, size_t total) {
  TaskScope scope;
  scope.spawn(transfer(loop, *pair.left, *pair.right, total, 65536));
  scope.spawn(transfer(loop, *pair.right, *pair.left, total + 1, 30'000));
  co_await scope.join();
}

TEST_P(Stream, CarriesBothWaysAtOnce) { run(*loop_, both_ways(*loop_, pair_, 4UL << 20)); }

Task<void> half_close(Loop& loop, ByteStream& asking, ByteStream& answering) {
  co_await transfer(loop, asking, answering, 10, 10);
  // Our side has ended; the answer still comes, and the end again and again.
  co_await transfer(loop, answering, asking, 1UL << 20, 65536);
  for (int i = 0; i < 3; ++i) {
    const auto bytes = co_await asking.read();
    EXPECT_TRUE(bytes.has_value() && bytes->empty());
    const auto other = co_await answering.read();
    EXPECT_TRUE(other.has_value() && other->empty());
  }
}

TEST_P(Stream, EitherSideMayEndFirst) {
  run(*loop_, half_close(*loop_, *pair_.left, *pair_.right));
  TearDown();
  SetUp();
  run(*loop_, half_close(*loop_, *pair_.right, *pair_.left));
}

Task<void> write_nothing(Loop& loop, ByteStream& stream) {
  const auto nothing = co_await stream.write(Buffer());
  EXPECT_TRUE(nothing.has_value());
  const auto none = co_await stream.write(loop.buffers().get());
  EXPECT_TRUE(none.has_value());
}

TEST_P(Stream, EmptyWriteDoesNothing) {
  run(*loop_, write_nothing(*loop_, *pair_.left));
  run(*loop_, transfer(*loop_, *pair_.left, *pair_.right, 5, 5));
}

Task<void> read_once(ByteStream& stream, Result<Buffer>& out) { out = co_await stream.read(); }

Task<void> write_until_error(Loop& loop, ByteStream& stream, Result<void>& out, size_t& written) {
  while (out) {
    Buffer piece = loop.buffers().get();
    piece.extend(piece.tail().size());
    const size_t size = piece.size();
    out = co_await stream.write(std::move(piece));
    if (out) written += size;
  }
}

Task<void> aborted_peer(Loop& loop, Pair& pair, bool can_reset) {
  co_await transfer(loop, *pair.left, *pair.right, 100, 100);
  Result<Buffer> waiting = fail(Code::kInternal, "");
  TaskScope scope;
  scope.spawn(read_once(*pair.left, waiting));
  pair.right->abort();
  co_await scope.join();
  if (can_reset) {
    EXPECT_FALSE(waiting.has_value());
    if (!waiting) EXPECT_EQ(waiting.error().code, Code::kReset);
  } else {
    EXPECT_TRUE(waiting.has_value() && waiting->empty());
  }
}

TEST_P(Stream, AbortIsAResetToThePeer) { run(*loop_, aborted_peer(*loop_, pair_, can_reset())); }

Task<void> write_to_aborted(Loop& loop, Pair& pair) {
  pair.right->abort();
  Result<void> outcome;
  size_t written = 0;
  co_await write_until_error(loop, *pair.left, outcome, written);
  EXPECT_EQ(outcome.error().code, Code::kReset);
}

TEST_P(Stream, WritingToAnAbortedPeerEndsInReset) { run(*loop_, write_to_aborted(*loop_, pair_)); }

Task<void> abort_pending(Loop& loop, Pair& pair) {
  Result<Buffer> reading = fail(Code::kInternal, "");
  Result<void> writing;
  size_t written = 0;
  TaskScope scope;
  scope.spawn(read_once(*pair.left, reading));
  scope.spawn(write_until_error(loop, *pair.left, writing, written));
  co_await settle(loop);
  EXPECT_EQ(scope.running(), 2U);
  pair.left->abort();
  pair.left->abort();
  co_await scope.join();
  EXPECT_EQ(reading.error().code, Code::kCancelled);
  EXPECT_EQ(writing.error().code, Code::kCancelled);

  const auto read_later = co_await pair.left->read();
  EXPECT_EQ(read_later.error().code, Code::kCancelled);
  const auto write_later = co_await pair.left->write(loop.buffers().copy_of("x"));
  EXPECT_EQ(write_later.error().code, Code::kCancelled);
  const auto end_later = co_await pair.left->shutdown_write();
  EXPECT_EQ(end_later.error().code, Code::kCancelled);
}

TEST_P(Stream, AbortEndsPendingAndLaterCalls) { run(*loop_, abort_pending(*loop_, pair_)); }

// More than the kernel's biggest socket buffers together (tcp_wmem and tcp_rmem: 4 to 6 MiB each).
constexpr size_t kFarTooMuch = 64UL << 20;

Task<void> drain(ByteStream& stream, size_t& taken) {
  while (true) {
    const auto bytes = co_await stream.read();
    if (!bytes || bytes->empty()) co_return;
    taken += bytes->size();
  }
}

Task<void> write_zeros(Loop& loop, ByteStream& stream, size_t total, size_t& written) {
  while (written < total) {
    Buffer piece = loop.buffers().get();
    piece.extend(piece.tail().size());
    const size_t size = piece.size();
    const auto done = co_await stream.write(std::move(piece));
    EXPECT_TRUE(done.has_value());
    if (!done) co_return;
    written += size;
  }
  co_await stream.shutdown_write();
}

Task<void> stall(Loop& loop, Pair& pair) {
  size_t written = 0;
  size_t taken = 0;
  TaskScope scope;
  scope.spawn(write_zeros(loop, *pair.left, kFarTooMuch, written));
  co_await settle(loop, 2000);
  EXPECT_GT(written, 0U);
  EXPECT_LT(written, kFarTooMuch / 2);
  EXPECT_LE(loop.buffers().in_use(), 8U);  // what waits to be written is not piled up by us
  scope.spawn(drain(*pair.right, taken));
  co_await scope.join();
  EXPECT_EQ(taken, kFarTooMuch);
}

TEST_P(Stream, WriterWaitsForAReaderThatDoesNotRead) { run(*loop_, stall(*loop_, pair_)); }

Task<void> closed_peer(Loop& loop, Pair& pair) {
  const auto sent = co_await pair.left->write(loop.buffers().copy_of("last words"));
  EXPECT_TRUE(sent.has_value());
  pair.left.reset();
  std::string text;
  while (true) {
    const auto bytes = co_await pair.right->read();
    EXPECT_TRUE(bytes.has_value());
    if (!bytes || bytes->empty()) break;
    text += bytes->text();
  }
  EXPECT_EQ(text, "last words");
  Result<void> outcome;
  size_t written = 0;
  co_await write_until_error(loop, *pair.right, outcome, written);
  EXPECT_EQ(outcome.error().code, Code::kReset);
}

TEST_P(Stream, DestroyingAnEndClosesIt) { run(*loop_, closed_peer(*loop_, pair_)); }

}  // namespace
}  // namespace weft::runtime
