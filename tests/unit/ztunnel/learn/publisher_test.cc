#include "ztunnel/learn/publisher.h"

#include "tests/support/run_task.h"
#include "tests/unit/ztunnel/learn/eventually.h"

#include <gtest/gtest.h>

namespace weft::learn {
namespace {

using std::chrono::milliseconds;

runtime::Task<void> storm(runtime::Loop& loop, int& published) {
  Publisher publisher(loop, [&published] { ++published; });
  publisher.changed(false);
  EXPECT_EQ(published, 1) << "after a quiet time: at once";
  const auto began = loop.now();
  for (int i = 0; i < 10'000; ++i) publisher.changed(false);
  EXPECT_EQ(published, 1);
  CO_ASSERT_TRUE(co_await testing::eventually(loop, [&] { return published > 1; }));
  EXPECT_GE(loop.now() - began, Publisher::kGap);
  EXPECT_EQ(published, 2) << "what came together is one";
  co_await loop.sleep(2 * Publisher::kGap);
  EXPECT_EQ(published, 2) << "nothing is left over";
}

runtime::Task<void> urgent_in_a_storm(runtime::Loop& loop, int& published) {
  Publisher publisher(loop, [&published] { ++published; });
  publisher.publish_now();
  const auto began = loop.now();
  publisher.changed(false);
  publisher.changed(true);
  publisher.changed(false);
  co_await loop.sleep(Publisher::kUrgentGap + milliseconds(1));
  EXPECT_EQ(published, 2);
  EXPECT_LT(loop.now() - began, milliseconds(5'000)) << "only that the loop was not blocked";
  publisher.changed(false);  // is still due when the publisher goes
}

TEST(Publisher, GathersAStorm) {
  auto loop = runtime::Loop::create(runtime::Backend::kEpoll);
  int published = 0;
  weft::testing::run(**loop, storm(**loop, published));
}

TEST(Publisher, WhatIsUrgentGoesAhead) {
  auto loop = runtime::Loop::create(runtime::Backend::kEpoll);
  int published = 0;
  weft::testing::run(**loop, urgent_in_a_storm(**loop, published));
}

}  // namespace
}  // namespace weft::learn
