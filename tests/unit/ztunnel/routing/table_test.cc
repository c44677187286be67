#include "ztunnel/routing/table.h"

#include "tests/unit/ztunnel/routing/requests.h"
#include "ztunnel/routing/route.h"

#include <gtest/gtest.h>

namespace weft::routing {
namespace {

std::shared_ptr<const Table> table_of(const std::string& text) {
  auto table = Table::compile(parsed<weft::route::Port>(text));
  EXPECT_TRUE(table) << table.error().to_string();
  return *std::move(table);
}

std::string found(const Table& table, const http::RequestHead& head) {
  const Match match = table.find(head);
  const Match slow = find_slowly(table, head);
  EXPECT_EQ(match.route, slow.route) << head.path;
  EXPECT_EQ(match.name, slow.name);
  EXPECT_EQ(match.prefix_bytes, slow.prefix_bytes);
  return match.route == nullptr ? "none" : std::string(match.name);
}

TEST(Table, TheFirstThatMatchesDecides) {
  const auto table = table_of(R"(
    http { name: "login" matches { path { prefix: "/login" } method { exact: "POST" } } }
    http { name: "any-login" matches { path { exact: "/login" } } }
    http { name: "v2"
           matches { name: "canary" headers { name: "x-canary" value { exact: "true" } } }
           matches { name: "regex" path { regex: "/(a|b)+/c" } } }
    http { name: "segment" matches { path { segment_prefix: "/shop/" } } }
    http { name: "never" matches { path { exact: "/shop" } } }
    http { name: "rest" })");
  EXPECT_EQ(found(*table, request("POST", "/login?x=1")), "login");
  EXPECT_EQ(found(*table, get("/login")), "any-login");
  EXPECT_EQ(found(*table, get("/login/")), "rest");
  EXPECT_EQ(found(*table, get("/shop", {{"x-canary", "true"}})), "v2.canary");
  EXPECT_EQ(found(*table, get("/shop", {{"x-canary", "tru"}})), "segment");
  EXPECT_EQ(found(*table, get("/abba/c?d")), "v2.regex");
  EXPECT_EQ(found(*table, get("/abba/cd")), "rest");
  EXPECT_EQ(found(*table, get("/shop")), "segment");
  EXPECT_EQ(found(*table, get("/shop/")), "segment");
  EXPECT_EQ(found(*table, get("/shop/cart?a")), "segment");
  EXPECT_EQ(found(*table, get("/shopping")), "rest");
  EXPECT_EQ(found(*table, request("OPTIONS", "*")), "rest");
}

TEST(Table, NoMatchIsNone) {
  const auto table = table_of(R"(http { name: "a" matches { path { exact: "/a" } } })");
  EXPECT_EQ(found(*table, get("/b")), "none");
  EXPECT_EQ(found(*table_of(""), get("/b")), "none");
}

TEST(Table, PrefixBytesAreWhatARewriteReplaces) {
  const auto table = table_of(R"(
    http { name: "p" matches { path { prefix: "/api/" } } }
    http { name: "s" matches { path { segment_prefix: "/shop/" } } }
    http { name: "e" matches { path { exact: "/exact" } } }
    http { name: "r" matches { path { segment_prefix: "/" } method { exact: "PUT" } } }
    http { name: "n" matches { method { exact: "GET" } } })");
  const auto bytes = [&](std::string_view method, std::string_view path) {
    found(*table, request(method, path));
    return table->find(request(method, path)).prefix_bytes;
  };
  EXPECT_EQ(bytes("GET", "/api/x"), 5);
  EXPECT_EQ(bytes("GET", "/shop/x"), 5);
  EXPECT_EQ(bytes("GET", "/exact"), std::nullopt);
  EXPECT_EQ(bytes("PUT", "/x"), 0);
  EXPECT_EQ(bytes("GET", "/x"), 1);
}

TEST(Table, CaseIsFoldedWhereAsked) {
  const auto table = table_of(R"(
    http { name: "exact" matches { path { exact: "/One" ignore_case: true } } }
    http { name: "prefix" matches { path { prefix: "/TWO" ignore_case: true } } }
    http { name: "segment" matches { path { segment_prefix: "/Three" ignore_case: true } } }
    http { name: "strict" matches { path { prefix: "/o" } } })");
  EXPECT_EQ(found(*table, get("/oNE")), "exact");
  EXPECT_EQ(found(*table, get("/one/")), "strict");
  EXPECT_EQ(found(*table, get("/twofold")), "prefix");
  EXPECT_EQ(found(*table, get("/THREE/x")), "segment");
  EXPECT_EQ(found(*table, get("/THREEx")), "none");
  EXPECT_EQ(found(*table, get("/O")), "none");
}

TEST(Table, Headers) {
  const auto table = table_of(R"(
    http { name: "invert" matches { path { exact: "/invert" }
      headers { name: "x-a" value { exact: "1" } invert: true } } }
    http { name: "absent" matches { path { exact: "/absent" }
      headers { name: "x-a" value { present: true } invert: true } } }
    http { name: "any" matches { path { exact: "/any" }
      headers { name: "x-a" value { regex: ".*" } invert: true } } }
    http { name: "present" matches { path { exact: "/present" } headers { name: "x-a" value {} } } }
    http { name: "joined" matches { path { exact: "/joined" }
      headers { name: "x-a" value { exact: "1,2" } } } }
    http { name: "pseudo" matches { path { exact: "/pseudo" }
      headers { name: ":authority" value { prefix: "rev" } }
      headers { name: "host" value { regex: "reviews:\\d+" } } } })");
  EXPECT_EQ(found(*table, get("/invert")), "invert");
  EXPECT_EQ(found(*table, get("/invert", {{"x-a", "2"}})), "invert");
  EXPECT_EQ(found(*table, get("/invert", {{"x-a", "1"}})), "none");
  EXPECT_EQ(found(*table, get("/absent")), "absent");
  EXPECT_EQ(found(*table, get("/absent", {{"x-a", ""}})), "none");
  EXPECT_EQ(found(*table, get("/any")), "none");
  EXPECT_EQ(found(*table, get("/present", {{"x-a", ""}})), "present");
  EXPECT_EQ(found(*table, get("/present")), "none");
  EXPECT_EQ(found(*table, get("/joined", {{"x-a", "1"}, {"x-b", "9"}, {"x-a", "2"}})), "joined");
  EXPECT_EQ(found(*table, get("/joined", {{"x-a", "1"}})), "none");
  EXPECT_EQ(found(*table, get("/pseudo")), "pseudo");
  EXPECT_EQ(found(*table, get("/pseudo", {}, "ratings:1")), "none");
}

TEST(Table, QueryAuthorityAndScheme) {
  const auto table = table_of(R"(
    http { name: "query" matches { query { name: "user" value { exact: "j" } }
                                   query { name: "debug" value { present: true } } } }
    http { name: "host" matches { authority { exact: "a.example" } } }
    http { name: "port" matches { authority { exact: "b.example:80" } } }
    http { name: "six" matches { authority { exact: "[::1]" } } }
    http { name: "https" matches { scheme { exact: "https" } } })");
  EXPECT_EQ(found(*table, get("/?user=j&debug")), "query");
  EXPECT_EQ(found(*table, get("/?user=x&user=j&debug")), "none");
  EXPECT_EQ(found(*table, get("/?debug=&user=j")), "query");
  EXPECT_EQ(found(*table, get("/?user=jj&debug=")), "none");
  EXPECT_EQ(found(*table, get("/user=j&debug")), "none");
  EXPECT_EQ(found(*table, get("/", {}, "a.example")), "host");
  EXPECT_EQ(found(*table, get("/", {}, "a.example:8080")), "host");
  EXPECT_EQ(found(*table, get("/", {}, "a.example:x")), "none");
  EXPECT_EQ(found(*table, get("/", {}, "b.example:80")), "port");
  EXPECT_EQ(found(*table, get("/", {}, "b.example")), "none");
  EXPECT_EQ(found(*table, get("/", {}, "[::1]:80")), "six");
}

TEST(Table, WhatIsWrongIsNamed) {
  const auto error = [](const std::string& text) {
    auto table = Table::compile(parsed<weft::route::Port>(text));
    return table ? "" : table.error().to_string();
  };
  const std::string regex =
      error(R"(port: 9080 http { name: "r" matches { path { regex: "(" } } })");
  EXPECT_TRUE(regex.starts_with("port 9080: route \"r\" match 0: path: regular expression \"(\""))
      << regex;
  EXPECT_TRUE(error(R"(http { name: "r" matches { } matches {
      headers { name: "x" value { regex: "[" } } } })")
                  .contains("match 1: headers[x]: "));
  EXPECT_TRUE(
      error(R"(http { matches { query { value { exact: "1" } } } })").contains("query.name"));
  EXPECT_TRUE(error(R"(http { matches { method { present: false } } })").contains("present"));
  weft::route::Port port;
  port.add_http()->add_matches()->mutable_path()->set_regex(std::string(5000, 'a'));
  EXPECT_TRUE(Table::compile(port).error().to_string().contains("at most 4096"));
  for (size_t i = 0; i <= kMatchesMax; ++i) port.add_http()->add_matches();
  port.mutable_http()->DeleteSubrange(0, 1);
  EXPECT_TRUE(Table::compile(port).error().to_string().contains("more than 65536 matches"));
}

// What a request costs: nodes and matches that were looked at, on a table of so many services'
// paths, some by prefix, some exact, with a catch-all behind them.
uint32_t cost_of(int routes) {
  weft::route::Port port;
  for (int i = 0; i < routes; ++i) {
    weft::route::HttpRoute& route = *port.add_http();
    const std::string path = "/team-" + std::to_string(i % 7) + "/service-" + std::to_string(i);
    route.set_name(path);
    auto& match = *route.add_matches()->mutable_path();
    i % 2 == 0 ? match.set_prefix(path + "/") : match.set_exact(path + "/x");
  }
  port.add_http()->set_name("rest");
  const auto table = *Table::compile(port);
  uint32_t most = 0;
  for (int i = 0; i < routes; ++i) {
    const std::string path = port.http(i).name() + "/x";
    const Match match = table->find(get(path));
    EXPECT_EQ(match.name, port.http(i).name());
    most = std::max(most, match.asked);
  }
  EXPECT_EQ(table->find(get("/elsewhere")).name, "rest");
  return most;
}

TEST(Table, AThousandRoutesCostNoMoreThanTen) {
  EXPECT_LE(cost_of(10), 8);
  EXPECT_LE(cost_of(1000), 10);
  EXPECT_LE(cost_of(10'000), 11);
}

TEST(Table, KeepsItsOwnCopy) {
  std::shared_ptr<const Table> table;
  {
    auto port =
        parsed<weft::route::Port>(R"(port: 80 http { name: "a" origin: "VirtualService x/y" })");
    table = *Table::compile(port);
    port.Clear();
  }
  EXPECT_EQ(table->find(get("/")).route->config->origin(), "VirtualService x/y");
  EXPECT_EQ(table->config().port(), 80);
  EXPECT_EQ(table->routes().size(), 1);
}

}  // namespace
}  // namespace weft::routing
