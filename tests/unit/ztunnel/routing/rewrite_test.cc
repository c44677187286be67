#include "ztunnel/routing/rewrite.h"

#include "tests/unit/ztunnel/routing/requests.h"

#include <gtest/gtest.h>

namespace weft::routing {
namespace {

Rewrite rewrite_of(const std::string& text) {
  auto made = Rewrite::compile(parsed<weft::route::Rewrite>(text));
  EXPECT_TRUE(made) << made.error().to_string();
  return *std::move(made);
}

TEST(Rewrite, Table) {
  struct Row {
    std::string rewrite;
    std::string_view path;
    std::optional<size_t> prefix_bytes;
    std::string_view made;
  };
  const auto segment = [](std::string_view to) {
    return "segment_prefix: \"" + std::string(to) + "\"";
  };
  for (const Row& row : std::initializer_list<Row>{
           {"", "/a?b", 1, "/a?b"},
           // VirtualService: text instead of text.
           {R"(prefix: "/v2/")", "/api/x?q=/api/", 5, "/v2/x?q=/api/"},
           {R"(prefix: "/")", "/api/x", 4, "//x"},
           {R"(prefix: "/new")", "/old/path?q", std::nullopt, "/new?q"},
           {R"(prefix: "new")", "/old", 4, "/new"},
           {R"(full: "/only")", "/a/b?q=1", 2, "/only?q=1"},
           {R"(full: "/only?x=y")", "/a/b?q=1", 2, "/only?x=y"},
           // The table of the Gateway API's ReplacePrefixMatch.
           {segment("/xyz"), "/foo/bar", 4, "/xyz/bar"},
           {segment("/xyz/"), "/foo/bar", 4, "/xyz/bar"},
           {segment("/xyz"), "/foo", 4, "/xyz"},
           {segment("/xyz"), "/foo/", 4, "/xyz/"},
           {segment(""), "/foo/bar", 4, "/bar"},
           {segment(""), "/foo/", 4, "/"},
           {segment(""), "/foo", 4, "/"},
           {segment("/"), "/foo/", 4, "/"},
           {segment("/"), "/foo?q", 4, "/?q"},
           {segment("/xyz"), "/foo", 0, "/xyz/foo"},
           {R"re(regex { match: "/user/(\\w+)/(\\d+)" substitution: "/u/\\2/\\1" })re",
            "/user/ann/7/end?user", std::nullopt, "/u/7/ann/end?user"},
           {R"(regex { match: "a" substitution: "bb" })", "/aXa?a", 1, "/bbXbb?a"},
           {R"(regex { match: "^/x" substitution: "/y" })", "/x/x", 1, "/y/x"},
           {R"(regex { match: ".*" substitution: "/z" })", "/x", 1, "/z"},
           {R"(regex { match: "q*" substitution: "-" })", "/xq", 1, "/-/-x-"},
           {R"(regex { match: "none" substitution: "-" })", "/x", 1, "/x"},
           {R"(regex { match: "/" substitution: "" })", "/x/y", 1, "/xy"},
       }) {
    const auto made = rewrite_of(row.rewrite).path(row.path, row.prefix_bytes);
    ASSERT_TRUE(made) << made.error().to_string();
    EXPECT_EQ(*made, row.made) << row.rewrite << " of " << row.path;
  }
}

TEST(Rewrite, APathThatGrowsBeyondBoundsIsRefused) {
  const Rewrite grows =
      rewrite_of("regex { match: \"\" substitution: \"" + std::string(1000, 'x') + "\" }");
  const auto made = grows.path("/" + std::string(1000, 'a'), 1);
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().code, Code::kLimit);
}

TEST(Rewrite, WhatIsWrongIsNamed) {
  const auto error = [](const std::string& text) {
    const auto made = Rewrite::compile(parsed<weft::route::Rewrite>(text));
    return made ? "" : made.error().to_string();
  };
  EXPECT_TRUE(error(R"(regex { match: "(" })").contains("regular expression"));
  EXPECT_TRUE(error(R"(regex { match: "a" substitution: "\\1" })").contains("substitution"));
  EXPECT_TRUE(error(R"(full: "/a b")").contains("path holds a space"));
  EXPECT_TRUE(error(R"(prefix: "/a\r\nx: y")").contains("control character"));
  EXPECT_TRUE(error(R"(authority: "a\nb")").contains("authority"));
}

}  // namespace
}  // namespace weft::routing
