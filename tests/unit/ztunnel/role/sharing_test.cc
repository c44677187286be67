#include "ztunnel/role/sharing.h"

#include <gtest/gtest.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <random>
#include <thread>
#include <vector>

namespace weft::role {
namespace {

using runtime::Loop;
using Kind = Sharing::Kind;

Fd some_connection() { return Fd(eventfd(0, EFD_CLOEXEC)); }

std::unique_ptr<Loop> make_loop() {
  auto loop = Loop::create(runtime::Backend::kEpoll);
  EXPECT_TRUE(loop) << loop.error().to_string();
  return std::move(*loop);
}

// A worker that takes connections and keeps them open. Its loop runs only when it is told to: until
// then it is one that has been woken and has not come to run.
struct Busy {
  Busy(const std::shared_ptr<Sharing>& sharing, size_t worker)
      : loop(make_loop()), place(sharing, worker, *loop, [this](Kind kind, Fd connection) {
          taken[static_cast<size_t>(kind)].push_back(std::move(connection));
        }) {}
  ~Busy() {
    place.leave();
    run();
  }
  void run() {
    loop->stop();
    loop->run();
  }
  void accept(Kind kind, size_t count) {
    for (size_t i = 0; i < count; ++i) place.accepted(kind, some_connection());
  }
  void end(Kind kind, size_t count) {
    for (size_t i = 0; i < count; ++i) {
      taken[static_cast<size_t>(kind)].pop_back();
      place.ended(kind);
    }
  }
  size_t open(Kind kind) const { return taken[static_cast<size_t>(kind)].size(); }

  std::unique_ptr<Loop> loop;
  std::array<std::vector<Fd>, Sharing::kKinds> taken;
  Sharing::Place place;
};

TEST(Sharing, OneThatAcceptsAllHandsHalfOver) {
  for (const Kind kind : {Kind::kOutbound, Kind::kPlain, Kind::kTunnel}) {
    const auto sharing = std::make_shared<Sharing>(2);
    Busy awake(sharing, 0);
    Busy woken(sharing, 1);
    awake.accept(kind, 2);
    EXPECT_EQ(awake.open(kind), 1U);
    EXPECT_EQ(woken.open(kind), 0U) << "on its own thread";
    woken.run();
    EXPECT_EQ(woken.open(kind), 1U);
    awake.accept(kind, 6);
    woken.run();
    EXPECT_EQ(awake.open(kind), 4U);
    EXPECT_EQ(woken.open(kind), 4U);
  }
}

TEST(Sharing, KindsAreSharedOutForThemselves) {
  const auto sharing = std::make_shared<Sharing>(2);
  Busy awake(sharing, 0);
  Busy woken(sharing, 1);
  for (const Kind kind : {Kind::kOutbound, Kind::kPlain, Kind::kTunnel}) {
    awake.accept(kind, 1);
    EXPECT_EQ(awake.open(kind), 1U);
  }
}

TEST(Sharing, ConnectionsThatHaveEndedDoNotCount) {
  const auto sharing = std::make_shared<Sharing>(2);
  Busy awake(sharing, 0);
  Busy woken(sharing, 1);
  for (int i = 0; i < 10; ++i) {
    awake.accept(Kind::kPlain, 1);
    awake.end(Kind::kPlain, 1);
  }
  awake.accept(Kind::kPlain, 3);
  woken.run();
  EXPECT_EQ(awake.open(Kind::kPlain), 2U);
  EXPECT_EQ(woken.open(Kind::kPlain), 1U);
  woken.end(Kind::kPlain, 1);
  awake.accept(Kind::kPlain, 2);
  woken.run();
  EXPECT_EQ(woken.open(Kind::kPlain), 2U);
}

TEST(Sharing, SmallDifferencesAmongManyAreLeft) {
  const auto sharing = std::make_shared<Sharing>(3);
  Busy a(sharing, 0);
  Busy b(sharing, 1);
  Busy c(sharing, 2);
  a.accept(Kind::kOutbound, 30);
  b.run();
  c.run();
  const size_t most =
      std::max({a.open(Kind::kOutbound), b.open(Kind::kOutbound), c.open(Kind::kOutbound)});
  const size_t least =
      std::min({a.open(Kind::kOutbound), b.open(Kind::kOutbound), c.open(Kind::kOutbound)});
  EXPECT_GT(a.open(Kind::kOutbound), 10U);
  EXPECT_LE(most - least, 2U);
  EXPECT_EQ(a.open(Kind::kOutbound) + b.open(Kind::kOutbound) + c.open(Kind::kOutbound), 30U);
}

TEST(Sharing, AStuckWorkerGetsNoMore) {
  const auto sharing = std::make_shared<Sharing>(2);
  Busy awake(sharing, 0);
  Busy stuck(sharing, 1);
  awake.accept(Kind::kOutbound, 4 * Sharing::kHandedOverMax);
  EXPECT_EQ(awake.open(Kind::kOutbound), 3 * Sharing::kHandedOverMax);
  stuck.run();
  EXPECT_EQ(stuck.open(Kind::kOutbound), Sharing::kHandedOverMax);
}

// As in an upgrade: one worker has stopped, another has not come to it yet.
TEST(Sharing, WhoLeavesTakesWhatWasHandedOverAndGetsNoMore) {
  const auto sharing = std::make_shared<Sharing>(2);
  Busy awake(sharing, 0);
  {
    Busy leaving(sharing, 1);
    awake.accept(Kind::kPlain, 4);
    leaving.place.leave();
    EXPECT_EQ(leaving.open(Kind::kPlain), 2U);
    awake.accept(Kind::kPlain, 4);
    leaving.run();
    EXPECT_EQ(leaving.open(Kind::kPlain), 2U);
    EXPECT_EQ(awake.open(Kind::kPlain), 6U);
    leaving.accept(Kind::kPlain, 7);  // was accepted as it stopped: its own, whoever has fewer
    EXPECT_EQ(leaving.open(Kind::kPlain), 9U);
    Busy again(sharing, 1);  // the pod is there anew
    awake.accept(Kind::kPlain, 1);
    again.run();
    EXPECT_EQ(again.open(Kind::kPlain) + awake.open(Kind::kPlain), 7U);
    leaving.accept(Kind::kPlain, 1);
    EXPECT_EQ(leaving.open(Kind::kPlain), 10U) << "not its successor's";
  }
}

TEST(Sharing, IsOneForAPodAsLongAsSomebodyServesIt) {
  Sharings all(2);
  const auto first = all.of("a");
  EXPECT_EQ(all.of("a"), first);
  EXPECT_NE(all.of("b"), first);
  const std::weak_ptr<Sharing> gone = first;
  const_cast<std::shared_ptr<Sharing>&>(first).reset();
  EXPECT_TRUE(gone.expired());
  EXPECT_NE(all.of("a"), nullptr);
}

// Workers on threads that accept, end and leave as they like: each connection is taken once.
TEST(Sharing, NothingIsLostBetweenThreads) {
  constexpr size_t kWorkers = 3;
  constexpr int kEach = 2'000;
  const auto sharing = std::make_shared<Sharing>(kWorkers);
  std::atomic<int> taken = 0;
  std::atomic<size_t> done = 0;
  const auto work = [&](size_t number) {
    const auto loop = make_loop();
    std::mt19937 random(static_cast<unsigned>(number));
    size_t open = 0;
    for (int round = 0; round < 4; ++round) {
      Sharing::Place place(sharing, number, *loop, [&](Kind, Fd connection) {
        EXPECT_TRUE(connection);
        ++taken;
        ++open;
      });
      for (int i = 0; i < kEach / 4; ++i) {
        place.accepted(Kind::kOutbound, some_connection());
        if (random() % 4 == 0) {
          loop->stop();
          loop->run();
        }
        for (; open > random() % 8; --open) place.ended(Kind::kOutbound);
      }
      place.leave();
      for (; open > 0; --open) place.ended(Kind::kOutbound);
    }
    // Another may be about to post here.
    ++done;
    while (done < kWorkers) std::this_thread::yield();
    loop->stop();
    loop->run();
  };
  std::vector<std::thread> threads;
  for (size_t i = 0; i < kWorkers; ++i) threads.emplace_back(work, i);
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(taken, kEach * static_cast<int>(kWorkers));
}

}  // namespace
}  // namespace weft::role
