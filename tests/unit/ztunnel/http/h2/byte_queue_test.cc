#include "ztunnel/http/byte_queue.h"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

namespace weft::http {
namespace {

using runtime::Buffer;
using runtime::BufferPool;

std::string take_all(ByteQueue& queue) {
  std::string all;
  while (!queue.empty()) all += queue.pop().text();
  return all;
}

TEST(ByteQueue, SharesWhatComesWhileNothingWaits) {
  BufferPool pool;
  ByteQueue queue(pool);
  const Buffer source = pool.copy_of("abcdef");
  queue.push(source, 2, 3);
  EXPECT_EQ(queue.size(), 3U);
  EXPECT_EQ(pool.in_use(), 1U);
  const Buffer piece = queue.pop();
  EXPECT_EQ(piece.text(), "cde");
  EXPECT_EQ(piece.data(), source.data() + 2);
}

TEST(ByteQueue, SmallPiecesDoNotPinAStorageEach) {
  BufferPool pool;
  ByteQueue queue(pool);
  constexpr size_t kPieces = 20'000;
  std::string expected;
  for (size_t i = 0; i < kPieces; ++i) {
    const Buffer source = pool.copy_of(std::string(1000, 'x') + static_cast<char>('a' + i % 26));
    queue.push(source, 1000, 1);
    expected += static_cast<char>('a' + i % 26);
  }
  EXPECT_LE(pool.in_use(), 3U);
  EXPECT_EQ(take_all(queue), expected);
  EXPECT_EQ(pool.in_use(), 0U);
}

TEST(ByteQueue, ALongQueueIsPackedWhateverThePiecesAre) {
  BufferPool pool;
  ByteQueue queue(pool);
  constexpr size_t kPiece = ByteQueue::kShareBytesMin;
  constexpr size_t kBytes = 4U << 20;
  for (size_t i = 0; i < kBytes / kPiece; ++i) {
    const Buffer source = pool.copy_of(std::string(kPiece, static_cast<char>('a' + i % 26)));
    queue.push(source, 0, kPiece);
  }
  EXPECT_EQ(queue.size(), kBytes);
  constexpr size_t kShared = ByteQueue::kSharedBytesMax / kPiece;
  EXPECT_LE(pool.in_use(), kShared + 2 * kBytes / BufferPool::kBufferBytes + 3);
}

TEST(ByteQueue, KeepsTheOrderOfAnyMixture) {
  std::mt19937 random(7);
  BufferPool pool;
  ByteQueue queue(pool);
  std::string expected;
  std::string got;
  for (int step = 0; step < 5000; ++step) {
    const size_t size = random() % (random() % 8 == 0 ? 30'000 : 300);
    std::string text(size, static_cast<char>('a' + random() % 26));
    expected += text;
    if (random() % 2 == 0) {
      queue.push(pool.copy_of(text));
    } else {
      const Buffer source = pool.copy_of("<" + text + ">");
      queue.push(source, 1, size);
    }
    if (random() % 3 == 0 && !queue.empty()) got += queue.pop().text();
    if (random() % 3 == 0) {
      PieceList some(pool);
      queue.take(random() % (queue.size() + 1), some);
      for (const Buffer& piece : some.pieces()) got += piece.text();
    }
    ASSERT_EQ(queue.size(), expected.size() - got.size());
  }
  got += take_all(queue);
  EXPECT_EQ(got, expected);
  EXPECT_EQ(pool.in_use(), 0U);
}

TEST(ByteQueue, ClearGivesEverythingBack) {
  BufferPool pool;
  ByteQueue queue(pool);
  for (int i = 0; i < 10; ++i) queue.push(pool.copy_of(std::string(5000, 'x')));
  queue.clear();
  EXPECT_TRUE(queue.empty());
  EXPECT_EQ(pool.in_use(), 0U);
}

}  // namespace
}  // namespace weft::http
