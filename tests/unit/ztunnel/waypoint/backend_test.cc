#include "ztunnel/waypoint/backend.h"

#include "tests/unit/ztunnel/routing/requests.h"

#include <gtest/gtest.h>

namespace weft::waypoint {
namespace {

Backend host_at(std::string region, std::string zone = "", std::string subzone = "") {
  Backend host;
  host.place = {std::move(region), std::move(zone), std::move(subzone), {}};
  return host;
}

// "0 1*30,2*70 | 3": hosts of groups with their weights, levels behind bars.
std::string arranged(const std::vector<Backend>& hosts, const std::string& policy, const Place& own,
                     bool detects = true) {
  std::string made;
  for (const Level& level :
       arrange(hosts, routing::parsed<weft::route::Locality>(policy), detects, own)) {
    if (!made.empty()) made += " | ";
    for (size_t g = 0; g < level.groups.size(); ++g) {
      if (g > 0) made += ", ";
      for (const size_t index : level.groups[g].hosts) made += std::to_string(index);
      if (level.groups[g].weight != 1) made += "*" + std::to_string(level.groups[g].weight);
    }
  }
  return made;
}

const std::vector<Backend> kHosts{host_at("eu", "a", "1"), host_at("eu", "a", "2"),
                                  host_at("eu", "b"),      host_at("us", "a"),
                                  host_at("asia", "a"),    host_at("us", "b")};
const Place kOwn{"eu", "a", "1", {}};

TEST(Arrange, WithoutAPolicyAllAreAlike) {
  EXPECT_EQ(arranged(kHosts, "", kOwn), "012345");
  EXPECT_EQ(arranged(kHosts, "enabled: true", kOwn, false), "012345") << "no outlier detection";
  EXPECT_EQ(arranged({}, "enabled: true", kOwn), "");
}

TEST(Arrange, ByLocality) {
  EXPECT_EQ(arranged(kHosts, "enabled: true", kOwn), "0 | 1 | 2 | 345");
  EXPECT_EQ(arranged(kHosts, "enabled: true failover { from: \"eu\" to: \"us\" }", kOwn),
            "0 | 1 | 2 | 35 | 4");
  EXPECT_EQ(
      arranged(kHosts, "enabled: true failover { from: \"us\" to: \"eu\" }", {"us", "b", "", {}}),
      "5 | 3 | 012 | 4");
  EXPECT_EQ(arranged(kHosts, "enabled: true", {"africa", "", "", {}}), "012345");
}

TEST(Arrange, ByWeightsOfLocalities) {
  const std::string rule = R"(distribute { from: "eu/*" to { key: "eu/a/*" value: 30 }
    to { key: "us/*" value: 70 } to { key: "us/b" value: 5 } })";
  EXPECT_EQ(arranged(kHosts, rule, kOwn), "01*30, 3*70, 5*5");
  EXPECT_EQ(arranged(kHosts, rule, {"us", "a", "", {}}), "012345") << "from elsewhere";
  EXPECT_EQ(
      arranged(kHosts, rule + R"(distribute { from: "eu/a" to { key: "asia" value: 9 } })", kOwn),
      "4*9")
      << "the most exact one";
  EXPECT_EQ(arranged(kHosts, R"(distribute { from: "*" to { key: "mars" value: 1 } })", kOwn), "");
}

TEST(Arrange, ByLabels) {
  std::vector<Backend> hosts(4);
  hosts[0].place.labels = {{"zone", "z1"}, {"version", "v1"}};
  hosts[1].place.labels = {{"zone", "z1"}, {"version", "v2"}};
  hosts[2].place.labels = {{"zone", "z2"}, {"version", "v1"}};
  Place own;
  own.labels = {{"zone", "z1"}, {"version", "v2"}};
  EXPECT_EQ(arranged(hosts, R"(enabled: true failover_priority: "zone"
                               failover_priority: "version")",
                     own),
            "1 | 0 | 23");
  EXPECT_EQ(arranged(hosts, R"(enabled: true failover_priority: "version=v1"
                               failover_priority: "zone")",
                     own),
            "0 | 2 | 13");
}

}  // namespace
}  // namespace weft::waypoint
