#include "ztunnel/learn/candidates.h"

#include "ztunnel/learn/state.h"

#include <gtest/gtest.h>

#include <map>
#include <random>

namespace weft::learn {
namespace {

constexpr auto kAll = [](const Candidate&) { return true; };

std::shared_ptr<Workload> workload(size_t index, std::mt19937& random) {
  auto made = std::make_shared<Workload>();
  made->uid = "w" + std::to_string(index);
  made->addresses = {IpAddress::v4(0x0a000000 + static_cast<uint32_t>(index))};
  const auto any = [&] { return std::string(1, static_cast<char>('a' + random() % 3)); };
  made->node = any();
  made->locality = {any(), any(), any()};
  made->capacity = static_cast<uint32_t>(1 + random() % 3);
  return made;
}

std::string at(const Workload& workload, Scope scope) {
  return scope == Scope::kRegion ? workload.locality.region
         : scope == Scope::kZone ? workload.locality.zone
                                 : workload.node;
}

// Against the obvious way: for every client, count what each endpoint shares with it.
TEST(CandidatesTest, RangesAreWhoSharesTheFirstScopes) {
  std::mt19937 random(7);
  const std::vector<Scope> scopes = {Scope::kRegion, Scope::kZone, Scope::kNode};
  std::vector<std::shared_ptr<Workload>> workloads;
  std::vector<Candidate> list;
  for (size_t i = 0; i < 100; ++i) {
    workloads.push_back(workload(i, random));
    list.push_back({workloads.back().get(), {workloads.back()->addresses[0], 80}, i});
  }
  const Candidates table(list, scopes);
  for (size_t i = 0; i < 50; ++i) {
    const auto client = workload(1000 + i, random);
    const auto ranges = table.ranges_for(*client, scopes);
    for (size_t depth = 0; depth <= scopes.size(); ++depth) {
      size_t expected = 0;
      for (const auto& one : workloads) {
        bool shares = true;
        for (size_t d = 0; d < depth; ++d) shares &= at(*one, scopes[d]) == at(*client, scopes[d]);
        expected += shares ? 1 : 0;
      }
      EXPECT_EQ(ranges[depth].end - ranges[depth].begin, expected);
      for (size_t at_index = ranges[depth].begin; at_index < ranges[depth].end; ++at_index) {
        for (size_t d = 0; d < depth; ++d) {
          EXPECT_EQ(at(*table[at_index].workload, scopes[d]), at(*client, scopes[d]));
        }
      }
    }
  }
}

TEST(CandidatesTest, APickStaysInItsRangeAndFollowsCapacity) {
  std::mt19937 random(11);
  std::vector<std::shared_ptr<Workload>> workloads;
  std::vector<Candidate> list;
  for (size_t i = 0; i < 10; ++i) {
    workloads.push_back(workload(i, random));
    list.push_back({workloads.back().get(), {workloads.back()->addresses[0], 80}, i});
  }
  const Candidates table(list, {});
  const Candidates::Range range{3, 8};
  uint64_t total = 0;
  for (size_t i = range.begin; i < range.end; ++i) total += table[i].workload->capacity;
  std::map<const Candidate*, uint64_t> counts;
  for (uint64_t draw = 0; draw < total * 10; ++draw) ++counts[table.pick(range, draw, kAll)];
  EXPECT_EQ(counts.size(), 5U);
  for (size_t i = range.begin; i < range.end; ++i) {
    EXPECT_EQ(counts[&table[i]], table[i].workload->capacity * 10U);
  }
  EXPECT_EQ(table.pick(range, 3, [](const Candidate&) { return false; }), nullptr);
  EXPECT_EQ(table.pick({3, 3}, 3, kAll), nullptr);
  EXPECT_EQ(table.pick_for({3, 3}, 3, kAll), nullptr);
}

TEST(CandidatesTest, AClientsShareIsFairAndItsOwn) {
  std::mt19937 random(13);
  std::vector<std::shared_ptr<Workload>> workloads;
  Service service;
  service.ports = {{80, 8080}};
  for (size_t i = 0; i < 8; ++i) {
    workloads.push_back(workload(i, random));
    service.endpoints.push_back({workloads.back(), {{80, 8080}}});
  }
  const auto made = candidates_of(service);
  ASSERT_EQ(made.size(), 1U);
  const Candidates& table = made[0].ready[0];
  EXPECT_TRUE(made[0].ready[1].empty());
  std::map<const Candidate*, int> counts;
  for (uint64_t client = 0; client < 8000; ++client) {
    ++counts[table.pick_for({0, table.size()}, mix(client), kAll)];
  }
  for (const auto& [candidate, count] : counts) EXPECT_NEAR(count, 1000, 150);
  EXPECT_EQ(counts.size(), 8U);
}

}  // namespace
}  // namespace weft::learn
