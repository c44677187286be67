#include "ztunnel/learn/shared_map.h"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <string>
#include <vector>

namespace weft::learn {
namespace {

using Map = SharedMap<std::string, int>;
using Model = std::map<std::string, int>;

Model content(const Map& map) {
  Model all;
  for (const auto& [key, value] : map) EXPECT_TRUE(all.emplace(key, value).second) << key;
  return all;
}

TEST(SharedMap, IsEmptyAtFirst) {
  Map map;
  EXPECT_TRUE(map.empty());
  EXPECT_TRUE(map.begin() == map.end());
  EXPECT_TRUE(map.find("a") == map.end());
  EXPECT_EQ(map.erase("a"), 0U);
  map["a"] = 1;
  map.erase(map.find("a"));
  EXPECT_TRUE(map.begin() == map.end()) << "a part that is empty again is skipped";
}

// Random changes to one map, of which copies are kept: each copy stays what it was.
TEST(SharedMap, CopiesStayWhatTheyWere) {
  std::mt19937 random(7);
  Map map;
  Model model;
  std::vector<std::pair<Map, Model>> copies;
  for (int step = 0; step < 20'000; ++step) {
    const std::string key = std::to_string(random() % 3'000);
    switch (random() % 8) {
      case 0:
      case 1:
        EXPECT_EQ(map.erase(key), model.erase(key));
        break;
      case 2:
        if (const auto found = map.find(key); found != map.end()) {
          EXPECT_EQ(found->second, model.at(key));
          map.erase(found);
          model.erase(key);
        }
        break;
      case 3:
        if (step % 50 == 0) copies.emplace_back(map, model);
        break;
      default:
        map[key] = step;
        model[key] = step;
    }
    ASSERT_EQ(map.size(), model.size());
    ASSERT_EQ(map.contains(key), model.contains(key));
  }
  ASSERT_GT(copies.size(), 20U);
  for (const auto& [copy, was] : copies) EXPECT_EQ(content(copy), was);
  EXPECT_EQ(content(map), model);
}

TEST(SharedMap, ACopyMayBeChangedToo) {
  Map map;
  map["a"] = 1;
  Map copy = map;
  copy["a"] = 2;
  map["b"] = 3;
  EXPECT_EQ(content(map), (Model{{"a", 1}, {"b", 3}}));
  EXPECT_EQ(content(copy), (Model{{"a", 2}}));
  map = copy;
  copy.clear();
  EXPECT_EQ(content(map), (Model{{"a", 2}}));
  EXPECT_TRUE(copy.empty());
}

}  // namespace
}  // namespace weft::learn
