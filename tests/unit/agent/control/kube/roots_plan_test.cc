#include "agent/control/kube/roots_plan.h"

#include <gtest/gtest.h>

namespace weft::control::kube {
namespace {

using Time = RootsPlan::Time;
using std::chrono::seconds;

TEST(RootsPlan, WritesWhereSomethingElseIsOrNothing) {
  RootsPlan plan;
  for (const char* ns : {"has", "lacks", "old"}) plan.set_namespace(ns, true);
  plan.set_namespace("not-ours", false);
  plan.observe("has", "root");
  plan.observe("old", "before");
  EXPECT_FALSE(plan.next(Time{}));  // no roots yet
  plan.set_roots("root");
  EXPECT_EQ(plan.next(Time{}), "lacks");
  plan.written("lacks");
  EXPECT_EQ(plan.next(Time{}), "old");
  plan.written("old");
  EXPECT_FALSE(plan.next(Time{}));
  // Deleted, changed, new roots: again.
  plan.observe("has", std::nullopt);
  EXPECT_EQ(plan.next(Time{}), "has");
  plan.observe("has", "tampered");
  EXPECT_EQ(plan.next(Time{}), "has");
  plan.observe("has", "root");
  EXPECT_FALSE(plan.next(Time{}));
  plan.set_roots("root2");
  EXPECT_EQ(plan.next(Time{}), "has");
}

TEST(RootsPlan, DoesNotFight) {
  RootsPlan plan;
  plan.set_roots("root");
  plan.set_namespace("a", true);
  plan.observe("a", "another CA's");
  EXPECT_EQ(plan.next(Time{}), "a");
  EXPECT_TRUE(plan.conflicted("a"));
  EXPECT_FALSE(plan.conflicted("a"));
  EXPECT_EQ(plan.foreign(), 1U);
  EXPECT_FALSE(plan.next(Time{}));
  plan.observe("a", "another CA's");
  EXPECT_FALSE(plan.next(Time{}));
  plan.observe("a", std::nullopt);  // it went away
  EXPECT_EQ(plan.next(Time{}), "a");
}

TEST(RootsPlan, AsksLaterAndLaterWhereItFails) {
  RootsPlan plan;
  plan.set_roots("root");
  plan.set_namespace("a", true);
  plan.set_namespace("b", true);
  Time now{};
  plan.failed("a", now);
  EXPECT_EQ(plan.next(now), "b");  // one that fails holds up no other
  plan.written("b");
  EXPECT_EQ(plan.next_time(), now + RootsPlan::kRetryFirst);
  for (int i = 0; i < 100; ++i) plan.failed("a", now);
  EXPECT_EQ(plan.next_time(), now + RootsPlan::kRetryMax);
  plan.set_namespace("a", false);
  EXPECT_FALSE(plan.next_time());
  plan.set_namespace("a", true);  // made anew
  EXPECT_EQ(plan.next(now), "a");
}

TEST(RootsPlan, ForgetsNamespacesThatAreGone) {
  RootsPlan plan;
  plan.set_roots("root");
  plan.set_namespace("a", true);
  plan.set_namespace("a", false);
  plan.written("a");
  plan.failed("a", Time{});
  EXPECT_FALSE(plan.conflicted("a"));
  EXPECT_FALSE(plan.next(Time{} + seconds(1000)));
}

}  // namespace
}  // namespace weft::control::kube
