#include "ztunnel/runtime/buffer.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

namespace weft::runtime {
namespace {

TEST(Buffer, FreshOneHasHeadroomAndRoomForAWholeRead) {
  BufferPool pool;
  Buffer buffer = pool.get();
  EXPECT_TRUE(buffer.empty());
  EXPECT_EQ(buffer.headroom(), Buffer::kHeadroom);
  EXPECT_EQ(buffer.tail().size(), BufferPool::kBufferBytes);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(buffer.data()) % 64, 0U);
}

TEST(Buffer, HasRoomBehindItsTailForWhatSealingAdds) {
  BufferPool pool;
  Buffer buffer = pool.get();
  EXPECT_EQ(buffer.seal_tail().size(), BufferPool::kBufferBytes + Buffer::kSealRoom);
  buffer.extend(BufferPool::kBufferBytes + 1);
  EXPECT_TRUE(buffer.tail().empty());
  EXPECT_EQ(buffer.seal_tail().size(), Buffer::kSealRoom - 1);
}

TEST(Buffer, HeaderIsWrittenInPlaceInFrontOfThePayload) {
  BufferPool pool;
  Buffer buffer = pool.copy_of("payload");
  const uint8_t* payload = buffer.data();
  std::memcpy(buffer.data() - 4, "head", 4);
  buffer.extend_front(4);
  EXPECT_EQ(buffer.text(), "headpayload");
  EXPECT_EQ(buffer.data() + 4, payload);
}

TEST(Buffer, TrimsFromBothEnds) {
  BufferPool pool;
  Buffer buffer = pool.copy_of("0123456789");
  buffer.trim_front(2);
  EXPECT_EQ(buffer.text(), "23456789");
  buffer.trim_to(3);
  EXPECT_EQ(buffer.text(), "234");
}

TEST(Buffer, EmptyDefaultIsSafeToAsk) {
  Buffer buffer;
  EXPECT_TRUE(buffer.empty());
  EXPECT_EQ(buffer.text(), "");
  EXPECT_TRUE(buffer.tail().empty());
  EXPECT_TRUE(buffer.share(0, 0).empty());
  buffer.clear();
}

TEST(Buffer, StorageGoesBackWithTheLastThatSharesIt) {
  BufferPool pool;
  Buffer whole = pool.copy_of("abcdef");
  Buffer left = whole.share(0, 3);
  Buffer right = whole.share(3, 3);
  EXPECT_EQ(pool.in_use(), 1U);
  whole.clear();
  left.clear();
  EXPECT_EQ(right.text(), "def");
  EXPECT_EQ(pool.in_use(), 1U);
  right.clear();
  EXPECT_EQ(pool.in_use(), 0U);
}

TEST(Buffer, MoveLeavesNothingBehindAndFreesTheTarget) {
  BufferPool pool;
  Buffer first = pool.copy_of("first");
  Buffer second = pool.copy_of("second");
  first = std::move(second);
  EXPECT_EQ(first.text(), "second");
  EXPECT_TRUE(second.empty());
  EXPECT_EQ(pool.in_use(), 1U);
}

TEST(Buffer, LongestCopyFits) {
  BufferPool pool;
  const std::string text(BufferPool::kBufferBytes, 'x');
  Buffer buffer = pool.copy_of(text);
  EXPECT_EQ(buffer.text(), text);
  EXPECT_TRUE(buffer.tail().empty());
}

TEST(BufferDeathTest, CopyThatDoesNotFitAndShareOutsideAreOurOwnMistakes) {
  BufferPool pool;
  const std::string text(BufferPool::kBufferBytes + 1, 'x');
  EXPECT_DEATH(pool.copy_of(text), "invariant broken");
  const Buffer buffer = pool.copy_of("abc");
  EXPECT_DEATH(buffer.share(2, 2), "invariant broken");
  EXPECT_DEATH(buffer.share(4, 0), "invariant broken");
}

#ifndef WEFT_SANITIZED  // under the sanitizers nothing is used again
TEST(BufferPool, UsesTheLastFreedFirst) {
  BufferPool pool;
  Buffer first = pool.get();
  Buffer second = pool.get();
  const uint8_t* const place = second.data();
  first.clear();
  second.clear();
  EXPECT_EQ(pool.get().data(), place);
}
#endif

TEST(BufferPool, CountsThroughABurst) {
  BufferPool pool;
  std::vector<Buffer> burst;
  for (size_t i = 0; i < 3 * BufferPool::kFreeMax; ++i) burst.push_back(pool.get());
  EXPECT_EQ(pool.in_use(), 3 * BufferPool::kFreeMax);
  burst.clear();
  EXPECT_EQ(pool.in_use(), 0U);
}

}  // namespace
}  // namespace weft::runtime
