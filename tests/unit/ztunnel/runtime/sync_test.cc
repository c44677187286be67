#include "ztunnel/runtime/sync.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>

namespace weft::runtime {
namespace {

Task<void> wait_and_note(Event& event, std::string& order, char name) {
  co_await event.wait();
  order += name;
}

TEST(Event, SetLetsAllGoOnInTheOrderInWhichTheyCame) {
  Event event;
  std::string order;
  for (const char name : {'a', 'b', 'c'}) start(wait_and_note(event, order, name));
  EXPECT_EQ(order, "");
  event.set();
  EXPECT_EQ(order, "abc");
  start(wait_and_note(event, order, 'd'));  // does not wait
  EXPECT_EQ(order, "abcd");
  event.reset();
  start(wait_and_note(event, order, 'e'));
  EXPECT_EQ(order, "abcd");
  event.wake();
  EXPECT_EQ(order, "abcde");
  EXPECT_FALSE(event.is_set());
}

Task<void> wait_twice(Event& event, int& woken) {
  co_await event.wait();
  ++woken;
  co_await event.wait();
  ++woken;
}

TEST(Event, WhoWaitsAgainWaitsForTheNextWake) {
  Event event;
  int woken = 0;
  start(wait_twice(event, woken));
  start(wait_twice(event, woken));
  event.wake();
  EXPECT_EQ(woken, 2);
  event.wake();
  EXPECT_EQ(woken, 4);
}

Task<void> destroy_after(std::unique_ptr<Event>& event) {
  co_await event->wait();
  event.reset();
}

TEST(Event, AWaiterMayDestroyIt) {
  auto event = std::make_unique<Event>();
  start(destroy_after(event));
  event->wake();
  EXPECT_EQ(event, nullptr);
}

Task<void> push_all(Queue<int>& queue, int count, int& pushed) {
  for (int i = 0; i < count; ++i) {
    if (!co_await queue.push(i)) co_return;
    ++pushed;
  }
}

Task<void> pop_all(Queue<int>& queue, std::string& popped) {
  while (true) {
    const std::optional<int> element = co_await queue.pop();
    if (!element) break;
    popped += std::to_string(*element);
  }
  popped += '.';
}

TEST(Queue, PushWaitsForRoomAndOrderHolds) {
  Queue<int> queue(2);
  int pushed = 0;
  std::string popped;
  start(push_all(queue, 5, pushed));
  EXPECT_EQ(pushed, 2);
  EXPECT_EQ(queue.size(), 2U);
  EXPECT_FALSE(queue.try_push(9));
  start(pop_all(queue, popped));
  EXPECT_EQ(pushed, 5);
  EXPECT_EQ(popped, "01234");
  queue.close();
  EXPECT_EQ(popped, "01234.");
}

TEST(Queue, CloseLeavesWhatIsInItAndEndsWhoWaits) {
  Queue<int> queue(1);
  int pushed = 0;
  start(push_all(queue, 3, pushed));
  queue.close();
  EXPECT_EQ(pushed, 1);
  EXPECT_FALSE(queue.try_push(9));
  std::string popped;
  start(pop_all(queue, popped));
  EXPECT_EQ(popped, "0.");
}

Task<void> join_and_note(TaskScope& scope, bool& joined) {
  co_await scope.join();
  joined = true;
}

TEST(TaskScope, JoinWaitsForTheLast) {
  TaskScope scope;
  Event first;
  Event second;
  std::string order;
  bool joined = false;
  scope.spawn(wait_and_note(first, order, 'a'));
  scope.spawn(wait_and_note(second, order, 'b'));
  start(join_and_note(scope, joined));
  EXPECT_EQ(scope.running(), 2U);
  second.set();
  EXPECT_FALSE(joined);
  first.set();
  EXPECT_TRUE(joined);
  EXPECT_EQ(order, "ba");
}

Task<int> countdown(int from) {
  if (from == 0) co_return 0;
  co_return 1 + co_await countdown(from - 1);
}

Task<void> await_many(int& sum) {
  for (int i = 0; i < 200'000; ++i) sum += co_await countdown(1);
}

// Tasks that end without waiting must not grow the stack.
TEST(Task, ALongLoopOfTasksThatNeverWaitNeedsNoStack) {
  int sum = 0;
  start(await_many(sum));
  EXPECT_EQ(sum, 200'000);
}

TEST(Task, OneThatIsNeverStartedFreesItsParameters) {
  auto held = std::make_shared<int>(1);
  const auto hold = [](std::shared_ptr<int> what) -> Task<int> { co_return *what; };
  {
    const Task<int> never = hold(held);
  }
  EXPECT_EQ(held.use_count(), 1);
}

}  // namespace
}  // namespace weft::runtime
