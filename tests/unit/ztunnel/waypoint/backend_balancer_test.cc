#include "ztunnel/waypoint/backend_balancer.h"

#include "tests/unit/ztunnel/routing/requests.h"

#include <gtest/gtest.h>

#include <deque>
#include <map>
#include <random>

namespace weft::waypoint {
namespace {

using std::chrono::milliseconds;

// A balancer over hosts that a test makes, with a clock and seeded dice.
class Balanced {
 public:
  explicit Balanced(const std::string& traffic)
      : traffic_(routing::parsed<weft::route::Traffic>(traffic)), outliers_(kStrict) {}

  Balanced& host(uint32_t weight = 1, const std::string& region = "eu") {
    Backend made;
    made.name = std::string(1, static_cast<char>('a' + hosts_.size()));
    made.weight = weight;
    made.place.region = region;
    made.since = now_;
    made.health = outliers_.endpoint(made.name);
    made.active = &active_.emplace_back(0);
    hosts_.push_back(std::move(made));
    return *this;
  }
  void update() { balancer_.update(hosts_, traffic_, {"eu", "", "", {}}, now_, dice()); }
  void eject(size_t host) {
    outliers_.went(*hosts_[host].health, Went::kReset, 0, now_);
    balancer_.refresh(now_, dice());
  }
  void pass(int ms) { now_ += milliseconds(ms); }
  size_t& active(size_t host) { return active_[host]; }

  std::string once(const Wish& wish = {}) {
    const auto chosen = balancer_.choose(wish, now_, dice());
    return chosen ? balancer_.hosts()[*chosen].name : "-";
  }
  // Percent of each host.
  std::map<std::string, int> shares(const Wish& wish = {}) {
    constexpr int kTurns = 20'000;
    std::map<std::string, int> counted;
    for (int i = 0; i < kTurns; ++i) counted[once(wish)] += 1;
    for (auto& [name, count] : counted) count = (count * 100 + kTurns / 2) / kTurns;
    return counted;
  }

 private:
  Dice dice() {
    return [this] { return random_(); };
  }
  static inline const auto kStrict = routing::parsed<weft::route::Outlier>(
      "consecutive_5xx: 1 interval_ms: 1000 ejection_percent_max: 100");
  weft::route::Traffic traffic_;
  Outliers outliers_;
  std::mt19937_64 random_{42};
  Clock::time_point now_ = Clock::time_point(std::chrono::hours(1));
  std::deque<size_t> active_;
  std::vector<Backend> hosts_;
  BackendBalancer balancer_;
};

using Shares = std::map<std::string, int>;

void expect_near(const Shares& got, const Shares& wanted, int within = 2) {
  ASSERT_EQ(got.size(), wanted.size()) << ::testing::PrintToString(got);
  for (const auto& [name, percent] : wanted) {
    ASSERT_TRUE(got.contains(name)) << name;
    EXPECT_NEAR(got.at(name), percent, within) << ::testing::PrintToString(got);
  }
}

TEST(BackendBalancer, NobodyIsNobody) {
  Balanced none("");
  EXPECT_EQ(none.once(), "-");
  none.update();
  EXPECT_EQ(none.once(), "-");
}

TEST(BackendBalancer, RoundRobinTakesTurnsByWeight) {
  Balanced even("balancing { algorithm: ROUND_ROBIN }");
  even.host().host().host().update();
  std::string turns;
  for (int i = 0; i < 9; ++i) turns += even.once();
  EXPECT_EQ(turns.substr(0, 3), turns.substr(3, 3));
  EXPECT_EQ(turns.substr(0, 3), turns.substr(6, 3));
  EXPECT_EQ(std::set(turns.begin(), turns.end()).size(), 3);
  Balanced weighted("balancing { algorithm: ROUND_ROBIN }");
  weighted.host(1).host(3).update();
  std::map<std::string, int> counted;
  for (int i = 0; i < 40; ++i) counted[weighted.once()] += 1;
  EXPECT_EQ(counted, (std::map<std::string, int>{{"a", 10}, {"b", 30}}));
}

TEST(BackendBalancer, LeastRequestAvoidsTheBusy) {
  Balanced busy("");
  busy.host().host().host().update();
  expect_near(busy.shares(), {{"a", 33}, {"b", 33}, {"c", 33}});
  busy.active(0) = 5;
  expect_near(busy.shares(), {{"b", 50}, {"c", 50}});
}

TEST(BackendBalancer, LeastRequestByWeight) {
  Balanced weighted("");
  weighted.host(1).host(4).update();
  expect_near(weighted.shares(), {{"a", 20}, {"b", 80}});
  weighted.active(0) = 1;  // as busy as four would make the other
  weighted.active(1) = 4;
  expect_near(weighted.shares(), {{"a", 20}, {"b", 80}});
  weighted.active(1) = 8;
  EXPECT_GT(weighted.shares()["a"], 30);
}

TEST(BackendBalancer, RandomAndPassthrough) {
  Balanced random("balancing { algorithm: RANDOM }");
  random.host().host().update();
  expect_near(random.shares(), {{"a", 50}, {"b", 50}});
  Balanced through("balancing { algorithm: PASSTHROUGH }");
  through.host().host().update();
  expect_near(through.shares({.exactly = "b"}), {{"b", 100}});
  expect_near(through.shares({.exactly = "elsewhere"}), {{"a", 50}, {"b", 50}});
}

TEST(BackendBalancer, AHashStays) {
  for (const std::string algorithm : {"RING_HASH", "MAGLEV"}) {
    Balanced ring("balancing { algorithm: " + algorithm + " }");
    ring.host().host().host().host().update();
    std::map<uint64_t, std::string> owners;
    for (uint64_t i = 0; i < 200; ++i) {
      const uint64_t hash = i * 0x9E3779B97F4A7C15U;
      owners[hash] = ring.once({.hash = hash});
      EXPECT_EQ(ring.once({.hash = hash}), owners[hash]);
    }
    ring.eject(0);
    int moved = 0;
    for (const auto& [hash, owner] : owners) {
      const std::string now = ring.once({.hash = hash});
      EXPECT_NE(now, "a");
      moved += owner != "a" && owner != now;
    }
    EXPECT_LE(moved, 20) << algorithm;
    EXPECT_EQ(ring.shares().size(), 3) << "without a hash, any";
    const std::vector<std::string> tried{owners.begin()->second};
    EXPECT_EQ(ring.once({.hash = owners.begin()->first, .avoid = tried}),
              ring.once({.hash = owners.begin()->first}))
        << "a hash is worth more than another host";
  }
}

TEST(BackendBalancer, TheEjectedGetNothingAndNobodyLeftIsNobody) {
  Balanced pair("outlier { consecutive_5xx: 1 }");
  pair.host().host().update();
  pair.eject(0);
  expect_near(pair.shares(), {{"b", 100}});
  pair.eject(1);
  EXPECT_EQ(pair.once(), "-");
}

TEST(BackendBalancer, BelowTheLeastHealthEverybodyIsAsked) {
  Balanced panic("outlier { consecutive_5xx: 1 health_percent_min: 50 }");
  panic.host().host().host().host().update();
  panic.eject(0);
  panic.eject(1);
  EXPECT_EQ(panic.shares().size(), 2) << "half is enough";
  panic.eject(2);
  expect_near(panic.shares(), {{"a", 25}, {"b", 25}, {"c", 25}, {"d", 25}});
}

TEST(BackendBalancer, ALevelFailsOverWhatItCannotTake) {
  Balanced local("balancing { locality { enabled: true } } outlier { consecutive_5xx: 1 }");
  local.host().host().host(1, "us").update();
  expect_near(local.shares(), {{"a", 50}, {"b", 50}});
  local.eject(0);
  expect_near(local.shares(), {{"b", 70}, {"c", 30}});  // 1.4 times half
  local.eject(1);
  expect_near(local.shares(), {{"c", 100}});
}

TEST(BackendBalancer, LocalitiesByWeightAndHealth) {
  Balanced spread(R"(balancing { locality { distribute { from: "eu"
    to { key: "eu" value: 80 } to { key: "us" value: 20 } } } } outlier { consecutive_5xx: 1 })");
  spread.host().host().host(1, "us").update();
  expect_near(spread.shares(), {{"a", 40}, {"b", 40}, {"c", 20}});
  spread.eject(0);  // 80 * 0.7 against 20
  expect_near(spread.shares(), {{"b", 74}, {"c", 26}});
}

TEST(BackendBalancer, AHostThatWasTriedIsAvoided) {
  Balanced retry("");
  retry.host().host().host().update();
  const std::vector<std::string> tried{"a"};
  const Shares shares = retry.shares({.avoid = tried});
  EXPECT_LE(shares.contains("a") ? shares.at("a") : 0, 1) << "five choices, each a third";
  const std::vector<std::string> all{"a", "b", "c"};
  EXPECT_EQ(retry.shares({.avoid = all}).size(), 3) << "rather the same than none";
}

TEST(BackendBalancer, OtherPlacesAreTriedAfterTwo) {
  Balanced far("balancing { locality { enabled: true } } outlier { consecutive_5xx: 1 }");
  far.host().host().host(1, "us").update();
  far.eject(0);
  const std::vector<std::string> tried{"b", "b"};
  expect_near(far.shares({.avoid = tried, .other_places = true}), {{"c", 100}});
}

TEST(BackendBalancer, WarmUpGrows) {
  Balanced cold(R"(balancing { algorithm: ROUND_ROBIN
    warmup { duration_ms: 10000 minimum_percent: 10 aggression: 1 } })");
  cold.host();
  cold.pass(20'000);
  cold.host().update();
  expect_near(cold.shares(), {{"a", 91}, {"b", 9}});
  cold.pass(5'000);
  expect_near(cold.shares(), {{"a", 67}, {"b", 33}});
  cold.pass(5'000);
  expect_near(cold.shares(), {{"a", 50}, {"b", 50}});
}

TEST(Warmth, Grows) {
  const auto policy = routing::parsed<weft::route::Warmup>("duration_ms: 1000 minimum_percent: 10");
  const Clock::time_point since(std::chrono::hours(1));
  EXPECT_EQ(warmth(policy, since, since), 0.1);
  EXPECT_EQ(warmth(policy, since, since + milliseconds(500)), 0.5);
  EXPECT_EQ(warmth(policy, since, since + milliseconds(1000)), 1);
  EXPECT_EQ(warmth(policy, since, since - milliseconds(1)), 0.1);
  const auto bold =
      routing::parsed<weft::route::Warmup>("duration_ms: 1000 minimum_percent: 10 aggression: 2");
  EXPECT_NEAR(warmth(bold, since, since + milliseconds(250)), 0.5, 1e-9);
}

}  // namespace
}  // namespace weft::waypoint
