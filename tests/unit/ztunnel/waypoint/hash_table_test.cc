#include "ztunnel/waypoint/hash_table.h"

#include <gtest/gtest.h>

#include <map>
#include <numeric>
#include <random>

namespace weft::waypoint {
namespace {

std::vector<Backend> hosts_of(std::vector<uint32_t> weights) {
  std::vector<Backend> hosts;
  for (const uint32_t weight : weights) {
    Backend host;
    host.name = "10.0.0." + std::to_string(hosts.size() + 1) + ":8080";
    host.weight = weight;
    hosts.push_back(std::move(host));
  }
  return hosts;
}

std::vector<size_t> all_of(const std::vector<Backend>& hosts) {
  std::vector<size_t> indexes(hosts.size());
  std::iota(indexes.begin(), indexes.end(), 0);
  return indexes;
}

constexpr int kHashes = 100'000;

template <class Table>
std::vector<size_t> owners(const Table& table) {
  std::mt19937_64 dice(1);
  std::vector<size_t> made;
  for (int i = 0; i < kHashes; ++i) made.push_back(table.at(dice()));
  return made;
}

double part_of(const std::vector<size_t>& owners, size_t host) {
  return static_cast<double>(std::ranges::count(owners, host)) / kHashes;
}

// How many hashes belong to somebody else when the last of ten hosts has gone: of the nine others'.
template <class Table>
double moved(uint64_t size) {
  const auto hosts = hosts_of(std::vector<uint32_t>(10, 1));
  auto fewer = all_of(hosts);
  const auto before = owners(Table(hosts, fewer, size));
  fewer.pop_back();
  const auto after = owners(Table(hosts, fewer, size));
  int changed = 0;
  for (int i = 0; i < kHashes; ++i) changed += before[i] != 9 && before[i] != after[i];
  return static_cast<double>(changed) / kHashes;
}

TEST(Ring, SharesByWeightAndMovesFewOthers) {
  const auto hosts = hosts_of({1, 1, 2});
  const Ring ring(hosts, all_of(hosts), 4096);
  EXPECT_GE(ring.points(), 4096);
  EXPECT_LE(ring.points(), 4100);
  const auto shares = owners(ring);
  EXPECT_NEAR(part_of(shares, 0), 0.25, 0.04);
  EXPECT_NEAR(part_of(shares, 2), 0.50, 0.04);
  // Fewer hosts stand at more points each: some of what the others have moves with that.
  EXPECT_LT(moved<Ring>(1024), 0.12);
}

TEST(Ring, HasABound) {
  const auto hosts = hosts_of({1, 1});
  EXPECT_LE(Ring(hosts, all_of(hosts), 1ULL << 40).points(), Ring::kPointsMax);
  EXPECT_EQ(Ring(hosts, all_of(hosts), 0).points(), Ring::kPointsMin);
}

TEST(Ring, WrapsAround) {
  const auto hosts = hosts_of({1, 1, 1});
  const Ring ring(hosts, all_of(hosts), 1024);
  EXPECT_EQ(ring.at(UINT64_MAX), ring.at(0));
}

TEST(Maglev, SharesByWeightAndMovesFewOthers) {
  const auto hosts = hosts_of({1, 1, 2});
  const Maglev maglev(hosts, all_of(hosts), 0);
  EXPECT_EQ(maglev.size(), 65'537);
  const auto shares = owners(maglev);
  EXPECT_NEAR(part_of(shares, 0), 0.25, 0.01);
  EXPECT_NEAR(part_of(shares, 2), 0.50, 0.01);
  EXPECT_LT(moved<Maglev>(65'537), 0.03);
}

TEST(Maglev, ASizeBecomesAPrime) {
  const auto hosts = hosts_of({1, 1});
  EXPECT_EQ(Maglev(hosts, all_of(hosts), 100).size(), 101);
  EXPECT_EQ(Maglev(hosts, all_of(hosts), 1).size(), 3);
  EXPECT_EQ(Maglev(hosts, all_of(hosts), 1ULL << 60).size(), Maglev::kSizeMax);
}

TEST(Tables, AreOfTheNamedHostsOnly) {
  const auto hosts = hosts_of({1, 1, 1});
  const std::vector<size_t> only{1};
  EXPECT_EQ(part_of(owners(Ring(hosts, only, 1024)), 1), 1);
  EXPECT_EQ(part_of(owners(Maglev(hosts, only, 101)), 1), 1);
}

}  // namespace
}  // namespace weft::waypoint
