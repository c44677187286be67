#include "ztunnel/runtime/timers.h"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <string>

namespace weft::runtime {
namespace {

using namespace std::chrono_literals;
using Time = TimerQueue::Clock::time_point;

TEST(TimerQueue, CallsWhatIsDueInOrderOfDeadlineAndThenOfAdding) {
  TimerQueue timers;
  std::string order;
  const Time start{};
  timers.add(start + 30ms, [&] { order += 'd'; });
  timers.add(start + 10ms, [&] { order += 'a'; });
  timers.add(start + 20ms, [&] { order += 'b'; });
  timers.add(start + 20ms, [&] { order += 'c'; });
  EXPECT_EQ(timers.earliest(), start + 10ms);
  timers.run_due(start + 9ms);
  EXPECT_EQ(order, "");
  timers.run_due(start + 20ms);
  EXPECT_EQ(order, "abc");
  timers.run_due(start + 1h);
  EXPECT_EQ(order, "abcd");
  EXPECT_EQ(timers.earliest(), std::nullopt);
}

TEST(TimerQueue, RemovedOneIsNotCalledAndStaleIdsDoNothing) {
  TimerQueue timers;
  int calls = 0;
  const Time start{};
  const uint64_t first = timers.add(start, [&] { ++calls; });
  timers.remove(first);
  // Takes the slot of the first; the first's id must not reach it.
  const uint64_t second = timers.add(start, [&] { ++calls; });
  EXPECT_NE(first, second);
  timers.remove(first);
  timers.remove(0);
  timers.remove(uint64_t{1} << 40);
  timers.run_due(start);
  EXPECT_EQ(calls, 1);
  timers.remove(second);
  EXPECT_EQ(timers.size(), 0U);
}

TEST(TimerQueue, OneThatACallAddsWaitsForTheNextTime) {
  TimerQueue timers;
  int calls = 0;
  const Time start{};
  timers.add(start, [&] {
    ++calls;
    timers.add(start, [&] { ++calls; });
  });
  timers.run_due(start);
  EXPECT_EQ(calls, 1);
  timers.run_due(start);
  EXPECT_EQ(calls, 2);
}

TEST(TimerQueue, ACallMayRemoveAnotherThatIsDue) {
  TimerQueue timers;
  const Time start{};
  bool called = false;
  uint64_t other = 0;
  timers.add(start, [&] { timers.remove(other); });
  other = timers.add(start, [&] { called = true; });
  timers.run_due(start);
  EXPECT_FALSE(called);
}

// Against the plainest thing that keeps the same order.
TEST(TimerQueue, AgreesWithASortedMap) {
  std::mt19937 random(20240607);
  TimerQueue timers;
  std::map<std::pair<Time, int>, uint64_t> expected;
  std::vector<int> fired;
  int next = 0;
  Time now{};
  for (int round = 0; round < 2000; ++round) {
    for (uint32_t adds = random() % 4; adds > 0; --adds) {
      const Time deadline = now + std::chrono::milliseconds(random() % 50);
      const int name = next++;
      expected[{deadline, name}] = timers.add(deadline, [&fired, name] { fired.push_back(name); });
    }
    if (!expected.empty() && random() % 3 == 0) {
      auto victim = expected.begin();
      std::advance(victim, random() % expected.size());
      timers.remove(victim->second);
      expected.erase(victim);
    }
    now += std::chrono::milliseconds(random() % 10);
    std::vector<int> due;
    while (!expected.empty() && expected.begin()->first.first <= now) {
      due.push_back(expected.begin()->first.second);
      expected.erase(expected.begin());
    }
    fired.clear();
    timers.run_due(now);
    ASSERT_EQ(fired, due) << "round " << round;
    ASSERT_EQ(timers.size(), expected.size());
  }
}

}  // namespace
}  // namespace weft::runtime
