#include "agent/compile/selector_index.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace weft::compile {
namespace {

using testing::UnorderedElementsAre;

SelectorIndex::Labels labels(std::initializer_list<std::pair<const char*, const char*>> pairs) {
  SelectorIndex::Labels made;
  for (const auto& [key, value] : pairs) made[key] = value;
  return made;
}

std::vector<std::string> candidates(const SelectorIndex& index, const std::string& ns,
                                    const SelectorIndex::Labels& of) {
  std::vector<std::string> names;
  index.for_candidates(ns, of, [&](const std::string& name) { names.push_back(name); });
  return names;
}

TEST(SelectorIndex, FindsWhatMaySelectAndNothingOfOtherNamespaces) {
  SelectorIndex index;
  index.put("a", "web", labels({{"app", "web"}}));
  index.put("a", "all", labels({}));
  index.put("b", "web-of-b", labels({{"app", "web"}}));
  EXPECT_THAT(candidates(index, "a", labels({{"app", "web"}, {"v", "1"}})),
              UnorderedElementsAre("web", "all"));
  EXPECT_THAT(candidates(index, "a", labels({{"app", "db"}})), UnorderedElementsAre("all"));
  EXPECT_THAT(candidates(index, "a", {}), UnorderedElementsAre("all"));
  EXPECT_THAT(candidates(index, "c", labels({{"app", "web"}})), UnorderedElementsAre());
}

TEST(SelectorIndex, LabelThatAllHaveIsNotWhereTheyAreKept) {
  SelectorIndex index;
  for (const char* app : {"one", "two", "three", "four"}) {
    index.put("a", app, labels({{"part-of", "shop"}, {"app", app}}));
  }
  // The first is found by either label; the others are under what tells them apart.
  EXPECT_LE(candidates(index, "a", labels({{"part-of", "shop"}, {"app", "three"}})).size(), 2U);
  EXPECT_THAT(candidates(index, "a", labels({{"part-of", "shop"}, {"app", "three"}})),
              testing::Contains("three"));
}

TEST(SelectorIndex, NewSelectorReplacesTheOldOneAndErasedIsGone) {
  SelectorIndex index;
  index.put("a", "web", labels({{"app", "web"}}));
  index.put("a", "web", labels({{"app", "site"}}));
  EXPECT_THAT(candidates(index, "a", labels({{"app", "web"}})), UnorderedElementsAre());
  EXPECT_THAT(candidates(index, "a", labels({{"app", "site"}})), UnorderedElementsAre("web"));
  index.erase("a", "web");
  index.erase("a", "web");
  EXPECT_THAT(candidates(index, "a", labels({{"app", "site"}})), UnorderedElementsAre());
}

}  // namespace
}  // namespace weft::compile
