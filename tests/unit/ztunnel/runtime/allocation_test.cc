// A warm loop allocates nothing from the heap: neither for an operation nor for a coroutine, a
// buffer, a timer or a post.

#include "tests/unit/ztunnel/runtime/run.h"
#include "ztunnel/runtime/sync.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <new>

namespace {

thread_local size_t allocations = 0;

}  // namespace

#ifndef WEFT_SANITIZED  // whose own operator new this would replace, and which use nothing again
static void* counted(std::size_t bytes, std::size_t alignment) {
  ++allocations;
  void* memory = std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
  if (memory == nullptr) std::abort();
  return memory;
}

void* operator new(std::size_t bytes) { return counted(bytes, 16); }
void* operator new(std::size_t bytes, std::align_val_t alignment) {
  return counted(bytes, static_cast<std::size_t>(alignment));
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }
#endif

namespace weft::runtime {
namespace {

class AllocationTest : public BackendTest {};
BOTH_BACKENDS(AllocationTest);

Task<void> echo(SocketStream& stream) {
  while (true) {
    Result<Buffer> bytes = co_await stream.read();
    if (!bytes || bytes->empty()) co_return;
    const Result<void> sent = co_await stream.write(std::move(*bytes));
    if (!sent) co_return;
  }
}

Task<void> ask(Loop& loop, SocketStream& stream, int rounds) {
  for (int i = 0; i < rounds; ++i) {
    const Deadline deadline(loop, std::chrono::seconds(10), [] {});
    const Result<void> sent = co_await stream.write(loop.buffers().copy_of("ping"));
    EXPECT_TRUE(sent.has_value());
    const Result<Buffer> answer = co_await stream.read();
    EXPECT_EQ(answer->text(), "ping");
    Event posted;
    loop.post([&posted] { posted.set(); });
    co_await posted.wait();
  }
}

Task<void> measure(Loop& loop, size_t& during) {
  auto [left_end, right_end] = unix_pair();
  SocketStream left(loop, std::move(left_end));
  SocketStream right(loop, std::move(right_end));
  TaskScope scope;
  scope.spawn(echo(right));
  co_await ask(loop, left, 100);
  const size_t before = allocations;
  co_await ask(loop, left, 1000);
  during = allocations - before;
  const Result<void> ended = co_await left.shutdown_write();
  EXPECT_TRUE(ended.has_value());
  co_await scope.join();
}

TEST_P(AllocationTest, AWarmLoopAllocatesNothing) {
#ifdef WEFT_SANITIZED
  GTEST_SKIP() << "under the sanitizers nothing is used again";
#endif
  size_t during = 1;
  run(loop(), measure(loop(), during));
  EXPECT_GT(allocations, 0U);  // the count works
  EXPECT_EQ(during, 0U);
}

}  // namespace
}  // namespace weft::runtime
