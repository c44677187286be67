#include "agent/cli/reach.h"

#include <gmock/gmock.h>

namespace weft::cli {
namespace {

using objects::parse_json;
using testing::IsEmpty;
using testing::SizeIs;

std::string pod(const std::string& name, const std::string& component, const std::string& node,
                const std::string& phase, const std::string& more = {}) {
  return R"({"metadata":{"name":")" + name + R"(",)" + more +
         R"("labels":{"app.kubernetes.io/name":")" + component + R"("}},"spec":{"nodeName":")" +
         node + R"("},"status":{"phase":")" + phase +
         R"(","conditions":[{"type":"Ready","status":"True"}],
            "containerStatuses":[{"restartCount":1}]}})";
}

Places places(std::initializer_list<std::string> pods) {
  std::string items;
  for (const std::string& one : pods) items += (items.empty() ? "" : ",") + one;
  return places_of(*parse_json("{\"items\":[" + items + "]}"));
}

TEST(Reach, AgentsAndZtunnelsOfANodeAreOnePlace) {
  const Places all = places(
      {pod("c1", "weft-control", "n2", "Running"), pod("a1", "weft-agent", "n1", "Running"),
       pod("z1", "weft-ztunnel", "n1", "Running", R"("deletionTimestamp":"2026-11-21T00:00:00Z",)"),
       pod("z2", "weft-ztunnel", "n1", "Pending")});
  ASSERT_THAT(all.controls, SizeIs(1));
  EXPECT_EQ(all.controls[0].process, "c1, ready, restarted 1 time");
  EXPECT_EQ(all.controls[0].address, "c1");
  ASSERT_THAT(all.nodes, SizeIs(1));
  EXPECT_EQ(all.nodes[0].name, "n1");
  EXPECT_EQ(all.nodes[0].address, "a1");
  EXPECT_EQ(all.nodes[0].ztunnel, "z1, ending, restarted 1 time; z2, Pending, restarted 1 time");
}

TEST(Reach, WhoDoesNotRunIsNotAsked) {
  const Places all =
      places({pod("c1", "weft-control", "", "Pending"), pod("a1", "weft-agent", "n1", "Pending"),
              pod("z1", "weft-ztunnel", "n2", "Running")});
  EXPECT_EQ(all.controls[0].address, "");
  ASSERT_THAT(all.nodes, SizeIs(2));
  EXPECT_EQ(all.nodes[0].address, "");
  EXPECT_EQ(all.nodes[0].ztunnel, "no pod");
  EXPECT_EQ(all.nodes[1].process, "no pod");
  for (const auto& answer :
       ask_places({.controls = {}, .nodes = {}, .kubectl = {"true"}}, all.nodes, "/status")) {
    EXPECT_FALSE(answer);
  }
}

TEST(Reach, WhatIsNoListOfPodsIsNoPlace) {
  EXPECT_THAT(places({"1", "null", "{}"}).nodes, IsEmpty());
  EXPECT_THAT(places_of(objects::Tree()).controls, IsEmpty());
}

}  // namespace
}  // namespace weft::cli
