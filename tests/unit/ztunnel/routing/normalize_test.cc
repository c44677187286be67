#include "ztunnel/routing/normalize.h"

#include <gtest/gtest.h>

#include <random>

namespace weft::routing {
namespace {

std::string normal(std::string_view path, PathRules rules) {
  std::string changed;
  switch (normalize_path(path, rules, changed)) {
    case Normalized::kSame:
      return std::string(path);
    case Normalized::kChanged:
      return changed;
    case Normalized::kRefused:
      return "refused";
  }
  return "";
}

TEST(Normalize, Table) {
  struct Row {
    std::string_view path, base, merged, decoded;
  };
  for (const Row& row : std::initializer_list<Row>{
           {"/", "/", "/", "/"},
           {"/a/b", "/a/b", "/a/b", "/a/b"},
           {"*", "*", "*", "*"},
           {"", "", "", ""},
           {"/a/./b", "/a/b", "/a/b", "/a/b"},
           {"/a/../b", "/b", "/b", "/b"},
           {"/a/..", "/", "/", "/"},
           {"/a/.", "/a/", "/a/", "/a/"},
           {"/../../etc", "/etc", "/etc", "/etc"},
           {"/..", "/", "/", "/"},
           {"/.a/..b/c.", "/.a/..b/c.", "/.a/..b/c.", "/.a/..b/c."},
           {"/admin\\x", "/admin/x", "/admin/x", "/admin/x"},
           {"/a\\..\\b", "/b", "/b", "/b"},
           {"/%61dmin", "/admin", "/admin", "/admin"},
           {"/a/%2e%2E/b", "/b", "/b", "/b"},
           {"/a//b", "/a//b", "/a/b", "/a/b"},
           {"//a///b//", "//a///b//", "/a/b/", "/a/b/"},
           {"/a//../b", "/a/b", "/a/b", "/a/b"},
           {"/a%2Fb", "/a%2Fb", "/a%2Fb", "/a/b"},
           {"/a%2f..%5Cb", "/a%2f..%5Cb", "/a%2f..%5Cb", "/b"},
           {"/a%252Fb", "/a%252Fb", "/a%252Fb", "/a%252Fb"},
           {"/a%2%46b", "/a%2Fb", "/a%2Fb", "/a/b"},
           {"/a%zz%4", "/a%zz%4", "/a%zz%4", "/a%zz%4"},
           {"/a%20b%c3%a4", "/a%20b%c3%a4", "/a%20b%c3%a4", "/a%20b%c3%a4"},
           {"/a%00b", "refused", "refused", "refused"},
           {"/a/../b?c=/../d//%2F", "/b?c=/../d//%2F", "/b?c=/../d//%2F", "/b?c=/../d//%2F"},
           {"/b?c=/../d", "/b?c=/../d", "/b?c=/../d", "/b?c=/../d"},
       }) {
    EXPECT_EQ(normal(row.path, PathRules::kNone), row.path);
    EXPECT_EQ(normal(row.path, PathRules::kBase), row.base) << row.path;
    EXPECT_EQ(normal(row.path, PathRules::kMergeSlashes), row.merged) << row.path;
    EXPECT_EQ(normal(row.path, PathRules::kDecodeAndMergeSlashes), row.decoded) << row.path;
  }
}

TEST(Normalize, NulIsRefused) {
  EXPECT_EQ(normal(std::string_view("/a\0b", 4), PathRules::kBase), "refused");
}

// What is left has no dot segment, no doubled slash, and nothing to do a second time.
TEST(Normalize, OnceIsEnough) {
  std::mt19937 dice(7);
  const std::string_view alphabet = "//..%%2fF5cC461e\\ab";
  for (int turn = 0; turn < 200'000; ++turn) {
    std::string path = "/";
    for (auto left = dice() % 14; left > 0; --left) path += alphabet[dice() % alphabet.size()];
    for (const auto rules :
         {PathRules::kBase, PathRules::kMergeSlashes, PathRules::kDecodeAndMergeSlashes}) {
      const std::string once = normal(path, rules);
      if (once == "refused") continue;
      ASSERT_EQ(normal(once, rules), once) << path;
      ASSERT_TRUE(once.starts_with('/')) << path;
      ASSERT_FALSE((once + "/").contains("/../")) << path;
      ASSERT_FALSE((once + "/").contains("/./")) << path;
      if (rules != PathRules::kBase) ASSERT_FALSE(once.contains("//")) << path;
    }
  }
}

}  // namespace
}  // namespace weft::routing
