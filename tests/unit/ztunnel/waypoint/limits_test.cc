#include "ztunnel/waypoint/limits.h"

#include "tests/unit/ztunnel/routing/requests.h"

#include <gtest/gtest.h>

namespace weft::waypoint {
namespace {

TEST(Share, IsTakenUpToTheLimitAndGivenBack) {
  Usage usage;
  Share one = Share::take(usage.requests, 2);
  {
    const Share two = Share::take(usage.requests, 2);
    EXPECT_TRUE(one && two);
    EXPECT_FALSE(Share::take(usage.requests, 2));
    EXPECT_EQ(usage.requests, 2);
  }
  EXPECT_EQ(usage.requests, 1);
  Share moved = std::move(one);
  EXPECT_EQ(usage.requests, 1);
  moved = Share();
  EXPECT_EQ(usage.requests, 0);
}

TEST(Share, ZeroIsNoLimit) {
  Usage usage;
  std::vector<Share> taken;
  for (int i = 0; i < 1000; ++i) {
    taken.push_back(Share::take(usage.connections, 0));
    ASSERT_TRUE(taken.back());
  }
  EXPECT_EQ(usage.connections, 1000);
}

TEST(Retries, FixedOrAPartOfWhatRuns) {
  Usage usage;
  usage.requests = 90;
  usage.pending = 10;
  const auto most = [&](const std::string& limits) {
    return retries_max(routing::parsed<weft::route::Limits>(limits), usage);
  };
  EXPECT_EQ(most(""), 0);
  EXPECT_EQ(most("retries: 7"), 7);
  EXPECT_EQ(most("retries: 7 retry_budget_percent: 20"), 20);
  EXPECT_EQ(most("retry_budget_percent: 1"), 3);
  EXPECT_EQ(most("retry_budget_percent: 1 retry_budget_minimum: 5"), 5);
}

}  // namespace
}  // namespace weft::waypoint
