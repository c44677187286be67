#include "tests/unit/ztunnel/runtime/run.h"
#include "ztunnel/runtime/sync.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/eventfd.h>

#include <array>
#include <atomic>
#include <latch>
#include <thread>
#include <vector>

namespace weft::runtime {
namespace {

using namespace std::chrono_literals;

class LoopTest : public BackendTest {};
BOTH_BACKENDS(LoopTest);

Task<void> note(Loop& loop, std::chrono::milliseconds delay, std::string& order, char name) {
  co_await loop.sleep(delay);
  order += name;
}

Task<void> sleep_in_order(Loop& loop) {
  std::string order;
  TaskScope scope;
  scope.spawn(note(loop, 15ms, order, 'c'));
  scope.spawn(note(loop, 0ms, order, 'a'));
  scope.spawn(note(loop, 5ms, order, 'b'));
  const auto start = loop.now();
  co_await scope.join();
  EXPECT_EQ(order, "abc");
  EXPECT_GE(loop.now() - start, 15ms);
}

TEST_P(LoopTest, SleepsAtLeastAsLongAsAsked) { run(loop(), sleep_in_order(loop())); }

Task<void> unscheduled(Loop& loop) {
  bool called = false;
  const TimerId timer = loop.schedule(1ms, [&] { called = true; });
  EXPECT_NE(timer, 0U);
  loop.unschedule(timer);
  loop.unschedule(timer);
  loop.unschedule(0);
  co_await loop.sleep(5ms);
  EXPECT_FALSE(called);
}

TEST_P(LoopTest, UnscheduledTimerIsNotCalled) { run(loop(), unscheduled(loop())); }

Task<void> turn_ends(Loop& loop) {
  int calls = 0;
  TurnEnd end(loop, [&] { ++calls; });
  auto gone = std::make_unique<TurnEnd>(loop, [&] { calls += 100; });
  end.ask();
  end.ask();
  gone->ask();
  gone.reset();
  EXPECT_EQ(calls, 0);
  co_await loop.sleep(1ms);
  EXPECT_EQ(calls, 1);
  end.ask();
  co_await loop.sleep(1ms);
  EXPECT_EQ(calls, 2);
}

TEST_P(LoopTest, TurnEndIsCalledOnceForATurnAndNotOnceItIsGone) { run(loop(), turn_ends(loop())); }

Task<void> deadlines(Loop& loop) {
  int calls = 0;
  {
    const Deadline kept(loop, 1ms, [&] { ++calls; });
    co_await loop.sleep(5ms);
    EXPECT_TRUE(kept.expired());
  }
  {
    const Deadline met(loop, 1ms, [&] { ++calls; });
    EXPECT_FALSE(met.expired());
  }
  co_await loop.sleep(5ms);
  EXPECT_EQ(calls, 1);
}

TEST_P(LoopTest, DeadlineCallsUnlessItIsGoneBefore) { run(loop(), deadlines(loop())); }

TEST_P(LoopTest, StopBeforeRunMakesItReturnAndItMayRunAgain) {
  int calls = 0;
  loop().stop();
  loop().post([&] { ++calls; });
  loop().run();
  EXPECT_EQ(calls, 1);
  loop().post([&] {
    ++calls;
    loop().stop();
  });
  loop().run();
  EXPECT_EQ(calls, 2);
}

TEST_P(LoopTest, PostFromOtherThreadsKeepsEachThreadsOrder) {
  constexpr int kThreads = 4;
  constexpr int kPosts = 2000;
  std::array<int, kThreads> next{};
  int left = kThreads * kPosts;
  std::vector<std::jthread> threads;
  threads.reserve(kThreads);
  for (int thread = 0; thread < kThreads; ++thread) {
    threads.emplace_back([&, thread] {
      for (int i = 0; i < kPosts; ++i) {
        loop().post([&, thread, i] {
          EXPECT_EQ(next[static_cast<size_t>(thread)]++, i);
          if (--left == 0) loop().stop();
        });
      }
    });
  }
  loop().run();
  EXPECT_EQ(left, 0);
}

Task<void> read_one(Loop& loop, int fd, char expected) {
  Buffer bytes;
  const int result = co_await loop.receive(fd, bytes);
  EXPECT_EQ(result, 1);
  EXPECT_EQ(bytes.text(), std::string_view(&expected, 1));
}

// More than the kernel side of the io_uring backend takes at once, and more reads complete in one
// turn than it has buffers lent.
Task<void> read_from_all(Loop& loop, const std::vector<std::pair<Fd, Fd>>& pairs) {
  TaskScope scope;
  for (size_t i = 0; i < pairs.size(); ++i) {
    scope.spawn(read_one(loop, pairs[i].first.get(), static_cast<char>('a' + i % 26)));
  }
  co_await settle(loop);
  EXPECT_EQ(scope.running(), pairs.size());
  EXPECT_EQ(loop.buffers().in_use(), 0U);  // who waits holds no buffer
  for (size_t i = 0; i < pairs.size(); ++i) {
    const char byte = static_cast<char>('a' + i % 26);
    EXPECT_EQ(::send(pairs[i].second.get(), &byte, 1, MSG_NOSIGNAL), 1);
  }
  co_await scope.join();
}

std::vector<std::pair<Fd, Fd>> many_pairs() {
  constexpr int kPairs = 1500;
  std::vector<std::pair<Fd, Fd>> pairs;
  for (int i = 0; i < kPairs; ++i) pairs.push_back(unix_pair());
  return pairs;
}

TEST_P(LoopTest, ManyReadsWaitWithoutBuffersAndAllComplete) {
  const auto pairs = many_pairs();
  run(loop(), read_from_all(loop(), pairs));
}

Task<void> read_and_count(Loop& loop, int fd, char expected, size_t& left) {
  co_await read_one(loop, fd, expected);
  if (--left == 0) loop.stop();
}

// The loop is made here and runs there; what is spawned before it runs is not lost.
TEST_P(LoopTest, RunsOnAnotherThreadThanItWasMadeOn) {
  const auto pairs = many_pairs();
  size_t left = pairs.size();
  for (const auto& [reading, writing] : pairs) {
    EXPECT_EQ(::send(writing.get(), "x", 1, MSG_NOSIGNAL), 1);
    loop().spawn(read_and_count(loop(), reading.get(), 'x', left));
  }
  std::thread([&] { loop().run(); }).join();
  EXPECT_EQ(left, 0U);
}

Task<void> count_ends(Loop& loop, Operation operation, std::vector<int>& results, size_t wanted) {
  results.push_back(co_await operation);
  if (results.size() == wanted) loop.stop();
}

TEST_P(LoopTest, CancelBeforeRunIsHeeded) {
  const auto [reading, writing] = unix_pair();
  Buffer bytes;
  std::vector<int> results;
  loop().spawn(count_ends(loop(), loop().receive(reading.get(), bytes), results, 1));
  loop().cancel(reading.get());
  EXPECT_TRUE(results.empty());  // soon, but not before cancel() returns
  loop().run();
  EXPECT_EQ(results, std::vector<int>{-ECANCELED});
}

Task<void> await_into(Operation operation, int& result) { result = co_await operation; }

Task<void> cancel_one(Loop& loop, Operation operation) {
  int result = 0;
  TaskScope scope;
  scope.spawn(await_into(operation, result));
  co_await settle(loop);
  EXPECT_EQ(scope.running(), 1U);
  loop.cancel(operation.fd);
  loop.cancel(operation.fd);
  EXPECT_EQ(scope.running(), 1U);
  co_await scope.join();
  EXPECT_EQ(result, -ECANCELED);
}

// What a peer does not read fills the socket until nothing more can be written.
void fill(int fd) {
  const std::vector<char> bytes(1 << 16);
  while (::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT) > 0) {
  }
  EXPECT_EQ(errno, EAGAIN);
}

TEST_P(LoopTest, CancelsAnAccept) {
  const Listening listening = listen_on_loopback();
  run(loop(), cancel_one(loop(), loop().accept(listening.fd.get())));
}

TEST_P(LoopTest, CancelsAReceive) {
  const auto [left, right] = unix_pair();
  Buffer bytes;
  run(loop(), cancel_one(loop(), loop().receive(left.get(), bytes)));
  EXPECT_TRUE(bytes.empty());
}

TEST_P(LoopTest, CancelsASend) {
  const auto [left, right] = unix_pair();
  fill(left.get());
  std::array<iovec, 1> one{iovec{const_cast<char*>("x"), 1}};
  run(loop(), cancel_one(loop(), loop().send(left.get(), one)));
  std::array<iovec, 2> two{iovec{const_cast<char*>("x"), 1}, iovec{const_cast<char*>("y"), 1}};
  run(loop(), cancel_one(loop(), loop().send(left.get(), two)));
}

TEST_P(LoopTest, CancelsAPollOfEachKind) {
  const auto [left, right] = unix_pair();
  run(loop(), cancel_one(loop(), loop().poll(left.get(), POLLIN)));
  fill(left.get());
  run(loop(), cancel_one(loop(), loop().poll(left.get(), POLLOUT)));
  run(loop(), cancel_one(loop(), loop().poll(left.get(), POLLIN | POLLOUT)));
}

// A listener with a full backlog answers no SYN, so a connect to it stays pending.
struct Deaf {
  Listening listening = listen_on_loopback(0);
  std::vector<Fd> fillers;
  Deaf() {
    while (true) {
      Result<Fd> socket = tcp_socket_in(-1, listening.address.ip);
      if (!socket) break;
      sockaddr_storage raw{};
      const socklen_t length = listening.address.to_sockaddr(raw);
      EXPECT_NE(::connect(socket->get(), reinterpret_cast<const sockaddr*>(&raw), length), 0);
      fillers.push_back(std::move(*socket));
      pollfd entry{.fd = fillers.back().get(), .events = POLLOUT, .revents = 0};
      if (::poll(&entry, 1, 0) == 0) return;  // on loopback it is connected at once, or not at all
      if (fillers.size() > 100) break;
    }
    ADD_FAILURE() << "the backlog does not fill";
  }
};

TEST_P(LoopTest, CancelsAConnect) {
  const Deaf deaf;
  const auto socket = tcp_socket_in(-1, deaf.listening.address.ip);
  run(loop(), cancel_one(loop(), loop().connect(socket->get(), deaf.listening.address)));
}

Task<void> cancel_both(Loop& loop, int fd) {
  Buffer bytes;
  std::array<iovec, 1> piece{iovec{const_cast<char*>("x"), 1}};
  int received = 0;
  int sent = 0;
  TaskScope scope;
  scope.spawn(await_into(loop.receive(fd, bytes), received));
  scope.spawn(await_into(loop.send(fd, piece), sent));
  co_await settle(loop);
  loop.cancel(fd);
  co_await scope.join();
  EXPECT_EQ(received, -ECANCELED);
  EXPECT_EQ(sent, -ECANCELED);
}

TEST_P(LoopTest, CancelMeetsBothDirections) {
  const auto [left, right] = unix_pair();
  fill(left.get());
  run(loop(), cancel_both(loop(), left.get()));
}

// The number of a descriptor that was cancelled and closed is a new socket's at once: the
// cancellation must reach the old operation and leave the new one alone.
Task<void> cancel_and_reuse(Loop& loop) {
  auto [old, old_peer] = unix_pair();
  const int number = old.get();
  Buffer bytes;
  int result = 0;
  TaskScope scope;
  scope.spawn(await_into(loop.receive(number, bytes), result));
  co_await settle(loop);
  loop.cancel(number);
  old.reset();
  const int other = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  EXPECT_EQ(other, number);
  const Fd held(other);
  co_await scope.join();
  EXPECT_EQ(result, -ECANCELED);
  scope.spawn(await_into(loop.poll(other, POLLIN), result));
  co_await settle(loop);
  EXPECT_EQ(scope.running(), 1U);
  eventfd_write(other, 1);
  co_await scope.join();
  EXPECT_EQ(result, POLLIN);
}

TEST_P(LoopTest, CancelledDescriptorMayBeClosedAtOnce) { run(loop(), cancel_and_reuse(loop())); }

// Closing without anything pending needs no word to the loop.
Task<void> reuse_numbers(Loop& loop) {
  for (int i = 0; i < 100; ++i) {
    auto [left, right] = unix_pair();
    Buffer bytes;
    int result = 0;
    TaskScope scope;
    scope.spawn(await_into(loop.receive(left.get(), bytes), result));
    co_await settle(loop, 2);
    EXPECT_EQ(::send(right.get(), "x", 1, MSG_NOSIGNAL), 1);
    co_await scope.join();
    EXPECT_EQ(result, 1);
  }
}

TEST_P(LoopTest, DescriptorNumbersMayBeUsedAgain) { run(loop(), reuse_numbers(loop())); }

Task<void> poll_results(Loop& loop) {
  const auto [left, right] = unix_pair();
  const int writable = co_await loop.poll(left.get(), POLLOUT);
  EXPECT_EQ(writable, POLLOUT);
  EXPECT_EQ(::send(right.get(), "x", 1, MSG_NOSIGNAL), 1);
  const int both = co_await loop.poll(left.get(), POLLIN | POLLOUT);
  EXPECT_EQ(both, POLLIN | POLLOUT);
}

TEST_P(LoopTest, PollTellsWhatIsReady) { run(loop(), poll_results(loop())); }

Task<void> errors(Loop& loop) {
  Buffer bytes;
  const int none = co_await loop.receive(-1, bytes);
  EXPECT_EQ(none, -EBADF);
  const Fd file(open("/dev/null", O_RDONLY | O_CLOEXEC));
  const int no_socket = co_await loop.receive(file.get(), bytes);
  EXPECT_EQ(no_socket, -ENOTSOCK);
  const int no_listener = co_await loop.accept(file.get());
  EXPECT_LT(no_listener, 0);
}

TEST_P(LoopTest, WrongDescriptorsAreErrorsAndNothingWorse) { run(loop(), errors(loop())); }

Task<void> send_for_ever(Loop& loop, int from, int to, const bool& done) {
  std::array<char, 16> bytes{};
  std::array<iovec, 2> pieces{iovec{bytes.data(), 8}, iovec{bytes.data() + 8, 8}};
  while (!done) {
    const int sent = co_await loop.send(from, pieces);
    EXPECT_EQ(sent, 16);
    Buffer received;
    const int got = co_await loop.receive(to, received);
    EXPECT_EQ(got, 16);
  }
}

Task<void> busy_neighbour(Loop& loop) {
  const auto [left, right] = unix_pair();
  bool done = false;
  TaskScope scope;
  scope.spawn(send_for_ever(loop, left.get(), right.get(), done));
  co_await loop.sleep(1ms);
  done = true;
  co_await scope.join();
}

TEST_P(LoopTest, AConnectionThatIsAlwaysReadyDoesNotStarveTheRest) {
  run(loop(), busy_neighbour(loop()));
}

Task<void> post_ping(Loop& loop, Loop& other, int rounds, std::latch& done) {
  for (int i = 0; i < rounds; ++i) {
    Event answered;
    other.post([&] { loop.post([&] { answered.set(); }); });
    co_await answered.wait();
  }
  done.count_down();
}

TEST_P(LoopTest, TwoLoopsPostToEachOther) {
  auto made = Loop::create(GetParam());
  ASSERT_TRUE(made.has_value());
  Loop& other = **made;
  std::latch done(1);
  std::jthread thread([&] { other.run(); });
  run(loop(), post_ping(loop(), other, 500, done));
  done.wait();
  other.stop();
}

TEST(Loop, BestBackendRuns) {
  auto made = Loop::create_best();
  ASSERT_TRUE(made.has_value());
  (*made)->stop();
  (*made)->run();
}

}  // namespace
}  // namespace weft::runtime
