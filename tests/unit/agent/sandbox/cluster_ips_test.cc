#include "agent/sandbox/cluster_ips.h"

#include "agent/sandbox/layout.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace weft::sandbox {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;

constexpr Families kDual{.v4 = true, .v6 = true};
constexpr Families kV4{.v4 = true, .v6 = false};
constexpr Families kV6{.v4 = false, .v6 = true};

struct Wanted {
  std::string policy = {};
  std::vector<std::string> families = {};
  std::string ip = {};
  std::vector<std::string> ips = {};
};

crd::core::Service service(const Wanted& wanted) {
  crd::core::Service service;
  auto& spec = *service.mutable_spec();
  spec.set_ipfamilypolicy(wanted.policy);
  spec.mutable_ipfamilies()->Assign(wanted.families.begin(), wanted.families.end());
  spec.set_clusterip(wanted.ip);
  spec.mutable_clusterips()->Assign(wanted.ips.begin(), wanted.ips.end());
  return service;
}

// Completed, or the test fails.
crd::core::Service complete(Families families, const Wanted& wanted,
                            const crd::core::Service* present = nullptr) {
  crd::core::Service made = service(wanted);
  const auto done = ClusterIps(families).complete("default/web", present, made);
  EXPECT_TRUE(done) << done.error().to_string();
  EXPECT_EQ(made.spec().clusterip(), made.spec().clusterips(0));
  return made;
}

std::string refusal(Families families, const Wanted& wanted) {
  crd::core::Service made = service(wanted);
  const auto done = ClusterIps(families).complete("default/web", nullptr, made);
  return done ? "accepted" : done.error().to_string();
}

TEST(ClusterIps, WithoutAWordOneOfTheFirstFamily) {
  EXPECT_THAT(cluster_ips(complete(kDual, {})), ElementsAre(StartsWith("10.96.")));
  EXPECT_THAT(complete(kDual, {}).spec().ipfamilies(), ElementsAre("IPv4"));
  EXPECT_EQ(complete(kDual, {}).spec().ipfamilypolicy(), "SingleStack");
  EXPECT_THAT(cluster_ips(complete(kV6, {})), ElementsAre(StartsWith("fd00:10:96::")));
}

TEST(ClusterIps, DualStackHasOneOfEachInTheOrderOfTheFamilies) {
  EXPECT_THAT(cluster_ips(complete(kDual, {.policy = "RequireDualStack"})),
              ElementsAre(StartsWith("10.96."), StartsWith("fd00:10:96::")));
  EXPECT_THAT(cluster_ips(complete(kDual, {.policy = "PreferDualStack", .families = {"IPv6"}})),
              ElementsAre(StartsWith("fd00:10:96::"), StartsWith("10.96.")));
  EXPECT_THAT(cluster_ips(complete(kV4, {.policy = "PreferDualStack"})),
              ElementsAre(StartsWith("10.96.")));
}

TEST(ClusterIps, HeadlessHasFamiliesOnly) {
  const auto made = complete(kDual, {.policy = "RequireDualStack", .ip = "None"});
  EXPECT_THAT(cluster_ips(made), IsEmpty());
  EXPECT_THAT(made.spec().clusterips(), ElementsAre("None"));
  EXPECT_THAT(made.spec().ipfamilies(), ElementsAre("IPv4", "IPv6"));
}

TEST(ClusterIps, WhatIsWrittenOrStoredStays) {
  EXPECT_THAT(cluster_ips(complete(kDual, {.ip = "fd00:10:96::7"})), ElementsAre("fd00:10:96::7"));
  const auto first = complete(kDual, {.policy = "RequireDualStack", .ip = "10.96.0.7"});
  EXPECT_EQ(cluster_ips(first).front(), "10.96.0.7");
  const auto again = complete(kDual, {.policy = "RequireDualStack"}, &first);
  EXPECT_EQ(cluster_ips(again), cluster_ips(first));
}

TEST(ClusterIps, NoneIsGivenTwice) {
  ClusterIps ips(kV4);
  crd::core::Service one = service({});
  crd::core::Service other = service({});
  ASSERT_TRUE(ips.complete("default/web", nullptr, one));
  ASSERT_TRUE(ips.complete("default/web", nullptr, other));
  EXPECT_NE(cluster_ips(one), cluster_ips(other));
}

TEST(ClusterIps, RefusesWhatCannotBe) {
  EXPECT_THAT(refusal(kV4, {.families = {"IPv6"}}), HasSubstr("the sandbox has no IPv6"));
  EXPECT_THAT(refusal(kV4, {.policy = "RequireDualStack"}), HasSubstr("--ip-families dual"));
  EXPECT_THAT(refusal(kDual, {.families = {"IPv4", "IPv6"}}), HasSubstr("for two families"));
  EXPECT_THAT(refusal(kDual, {.families = {"IPv4", "IPv4"}}), HasSubstr("twice"));
  EXPECT_THAT(refusal(kDual, {.families = {"IPX"}}), HasSubstr("got \"IPX\""));
  EXPECT_THAT(refusal(kDual, {.policy = "Both"}), HasSubstr("spec.ipFamilyPolicy: expected"));
  EXPECT_THAT(refusal(kDual, {.ip = "fd00:10:97::1"}), HasSubstr("fd00:10:96::/112"));
  EXPECT_THAT(refusal(kDual, {.ip = std::string(kDnsIpV6)}), HasSubstr("other than"));
  EXPECT_THAT(refusal(kV4, {.ip = "fd00:10:96::7"}), HasSubstr("spec.clusterIP"));
}

}  // namespace
}  // namespace weft::sandbox
