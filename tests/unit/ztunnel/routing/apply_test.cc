#include "ztunnel/routing/apply.h"

#include "tests/unit/ztunnel/routing/requests.h"

#include <gtest/gtest.h>

#include <map>

namespace weft::routing {
namespace {

// A table of one route, and what a request finds in it.
class Taken {
 public:
  explicit Taken(const std::string& route) {
    weft::route::Port port;
    *port.add_http() = parsed<weft::route::HttpRoute>(route);
    auto table = Table::compile(port);
    EXPECT_TRUE(table) << table.error().to_string();
    table_ = *std::move(table);
  }
  Match match(const http::RequestHead& request) const { return table_->find(request); }
  const Route& route() const { return table_->routes().front(); }

 private:
  std::shared_ptr<const Table> table_;
};

std::string error_of(const std::string& route) {
  weft::route::Port port;
  *port.add_http() = parsed<weft::route::HttpRoute>(route);
  auto table = Table::compile(port);
  return table ? "" : table.error().to_string();
}

std::string location_of(const std::string& redirect, const http::RequestHead& request,
                        const std::string& matches = "") {
  const Taken taken(matches + " redirect { status: 301 " + redirect + "}");
  const auto made = answer(taken.match(request), request);
  EXPECT_TRUE(made && *made);
  EXPECT_EQ((*made)->head.status, 301);
  return std::string((*made)->head.fields.get("location"));
}

TEST(Redirect, Location) {
  const auto at = [](std::string_view authority) { return get("/a/b?q=1", {}, authority); };
  EXPECT_EQ(location_of("", at("x.example")), "http://x.example/a/b?q=1");
  EXPECT_EQ(location_of("", at("x.example:8080")), "http://x.example:8080/a/b?q=1");
  EXPECT_EQ(location_of("host: \"y.example\"", at("x:80")), "http://y.example/a/b?q=1");
  EXPECT_EQ(location_of("host: \"y\"", at("x:81")), "http://y:81/a/b?q=1");
  EXPECT_EQ(location_of("host: \"y\" port_from: SCHEME", at("x:81")), "http://y/a/b?q=1");
  EXPECT_EQ(location_of("scheme: \"https\"", at("x:80")), "https://x/a/b?q=1");
  EXPECT_EQ(location_of("scheme: \"https\" port: 443", at("x:80")), "https://x/a/b?q=1");
  EXPECT_EQ(location_of("scheme: \"https\" port: 8443", at("x")), "https://x:8443/a/b?q=1");
  EXPECT_EQ(location_of("port: 80", at("x:9080")), "http://x/a/b?q=1");
  EXPECT_EQ(location_of("path { full: \"/new\" }", at("[::1]:81")), "http://[::1]:81/new?q=1");
  EXPECT_EQ(location_of("path { segment_prefix: \"/z\" }", at("x"),
                        "matches { path { segment_prefix: \"/a\" } }"),
            "http://x/z/b?q=1");
}

TEST(Answer, DirectResponse) {
  const Taken taken(R"(direct_response { status: 503 body: "tea" })");
  const auto request = get("/");
  const auto made = answer(taken.match(request), request);
  ASSERT_TRUE(made && *made);
  EXPECT_EQ((*made)->head.status, 503);
  EXPECT_EQ((*made)->body, "tea");
  EXPECT_EQ((*made)->head.fields.get("content-type"), "text/plain");
}

TEST(Answer, WhatIsForwardedHasNone) {
  const Taken taken(R"(forward { destinations { weight: 1 destination { hostname: "a" } } })");
  const auto request = get("/");
  const auto made = answer(taken.match(request), request);
  ASSERT_TRUE(made);
  EXPECT_FALSE(*made);
}

TEST(Choose, ByWeight) {
  const Taken taken(R"(forward { destinations { weight: 90 destination { subset: "v1" } }
                                destinations { weight: 10 destination { subset: "v2" } } })");
  std::map<std::string, int> chosen;
  for (uint64_t dice = 0; dice < 1000; ++dice) {
    chosen[choose(taken.route(), dice)->destination->subset()] += 1;
  }
  EXPECT_EQ(chosen["v1"], 900);
  EXPECT_EQ(chosen["v2"], 100);
  EXPECT_EQ(choose(taken.route(), 89)->destination->subset(), "v1");
  EXPECT_EQ(choose(taken.route(), 90)->destination->subset(), "v2");
  EXPECT_EQ(choose(Taken("forward {}").route(), 3), nullptr);
}

TEST(Falls, PerMillion) {
  EXPECT_FALSE(falls(0, 0));
  EXPECT_TRUE(falls(1, 1'000'000));
  EXPECT_FALSE(falls(1, 1));
  EXPECT_TRUE(falls(1'000'000, 999'999));
  EXPECT_FALSE(falls(500'000, 500'000));
}

TEST(ChangeRequest, HeadersAuthorityAndPath) {
  const Taken taken(R"(
    matches { path { prefix: "/api" } }
    request_headers {
      remove: "X-Gone" set { name: "X-Set" value: "new" } add { name: "x-add" value: "2" }
      set { name: "x-from" value: "%REQ(x-kept)%/%REQ(:path)%" } }
    rewrite { prefix: "/v2" authority: "ratings" }
    forward { destinations { weight: 1 destination { hostname: "a" }
      request_headers { set { name: "x-set" value: "newer" } } } })");
  auto head =
      get("/api/x?q",
          {{"x-gone", "1"}, {"x-set", "old"}, {"x-set", "older"}, {"x-add", "1"}, {"x-kept", "k"}});
  const Match match = taken.match(head);
  ASSERT_TRUE(change_request(match, taken.route().destinations[0], {}, head));
  EXPECT_EQ(head.path, "/v2/x?q");
  EXPECT_EQ(head.authority, "ratings");
  EXPECT_EQ(head.fields.get("x-envoy-original-path"), "/api/x?q");
  EXPECT_EQ(head.fields.get("x-envoy-original-host"), "reviews:9080");
  EXPECT_EQ(head.fields.count("x-gone"), 0);
  EXPECT_EQ(head.fields.count("x-set"), 1);
  EXPECT_EQ(head.fields.get("x-set"), "newer");
  EXPECT_EQ(head.fields.count("x-add"), 2);
  EXPECT_EQ(head.fields.get("x-from"), "k//api/x?q");
}

TEST(ChangeRequest, NothingToChangeLeavesNoTrace) {
  const Taken taken(R"(rewrite { prefix: "/" }
    forward { destinations { weight: 1 destination { hostname: "a" } } })");
  auto head = get("/x");
  ASSERT_TRUE(change_request(taken.match(head), taken.route().destinations[0], {}, head));
  EXPECT_EQ(head.path, "/x");
  EXPECT_TRUE(head.fields.empty());
}

TEST(ChangeRequest, ADestinationsRewriteStandsInsteadAndHostIsTheAuthority) {
  const Taken taken(R"(rewrite { full: "/route" }
    request_headers { set { name: "Host" value: "other" } }
    forward { destinations { weight: 1 rewrite { full: "/own" } } })");
  auto head = get("/x");
  ASSERT_TRUE(change_request(taken.match(head), taken.route().destinations[0], {}, head));
  EXPECT_EQ(head.path, "/own");
  EXPECT_EQ(head.authority, "other");
  EXPECT_EQ(head.fields.count("host"), 0);
}

TEST(Format, Operators) {
  http::ResponseHead response;
  response.status = 204;
  response.fields.add("x-r", "r");
  auto head = get("/p", {{"x-a", "abcdef"}});
  Facts facts;
  facts.remote_address = "[fd00::1]:55";
  facts.local_address = "10.0.0.1:80";
  facts.peer = "spiffe://td/ns/a/sa/b";
  facts.route_name = "route";
  facts.started =
      std::chrono::system_clock::time_point(std::chrono::milliseconds(1'700'000'000'042));
  const auto made = [&](std::string_view text) {
    return Format::compile(text).of(head, &response, facts);
  };
  EXPECT_EQ(made("plain"), "plain");
  EXPECT_EQ(made("%REQ(X-A):3%"), "abc");
  EXPECT_EQ(made("<%REQ(x-none?x-a)%>"), "<abcdef>");
  EXPECT_EQ(made("%REQ(:METHOD)% %REQ(:authority)%"), "GET reviews:9080");
  EXPECT_EQ(made("%RESP(x-r)%%RESPONSE_CODE%"), "r204");
  EXPECT_EQ(made("%PROTOCOL%"), "HTTP/1.1");
  EXPECT_EQ(made("%DOWNSTREAM_REMOTE_ADDRESS%"), "[fd00::1]:55");
  EXPECT_EQ(made("%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%"), "fd00::1");
  EXPECT_EQ(made("%DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT%"), "10.0.0.1");
  EXPECT_EQ(made("%DOWNSTREAM_PEER_URI_SAN%"), "spiffe://td/ns/a/sa/b");
  EXPECT_EQ(made("%ROUTE_NAME%"), "route");
  EXPECT_EQ(made("%START_TIME%"), "2023-11-14T22:13:20.042Z");
  EXPECT_EQ(made("100%% of %REQ(x-none)%"), "100% of ");
  EXPECT_EQ(made("50% off, %NOBODY% %REQ(x-a %REQ(x-a):x%"),
            "50% off, %NOBODY% %REQ(x-a %REQ(x-a):x%");
}

TEST(HeaderChanges, AnEmptyValueChangesNothing) {
  const Taken taken(R"(request_headers { set { name: "x-a" value: "%REQ(x-none)%" } }
    forward { destinations { weight: 1 } })");
  auto head = get("/", {{"x-a", "1"}});
  ASSERT_TRUE(change_request(taken.match(head), taken.route().destinations[0], {}, head));
  EXPECT_EQ(head.fields.get("x-a"), "1");
}

TEST(HeaderChanges, OfAResponse) {
  const Taken taken(R"(
    response_headers { remove: "server" set { name: "x-route" value: "%REQ(x-id)%" } }
    forward { destinations { weight: 1
      response_headers { add { name: "x-v" value: "%RESPONSE_CODE%" } } } })");
  http::ResponseHead response;
  response.fields.add("server", "x");
  change_response(taken.route(), &taken.route().destinations[0], {}, get("/", {{"x-id", "7"}}),
                  response);
  EXPECT_EQ(response.fields.count("server"), 0);
  EXPECT_EQ(response.fields.get("x-route"), "7");
  EXPECT_EQ(response.fields.get("x-v"), "200");
}

TEST(Compile, WhatIsWrongIsNamed) {
  const auto set = [](std::string_view name, std::string_view value) {
    return error_of("name: \"r\" request_headers { set { name: \"" + std::string(name) +
                    "\" value: \"" + std::string(value) + "\" } }");
  };
  EXPECT_EQ(set("Content-Length", "0"),
            "port 0: route \"r\": request_headers: header \"content-length\" frames the message: "
            "not to be changed");
  EXPECT_TRUE(set("x a", "1").contains("not a token"));
  EXPECT_TRUE(set(":path", "1").contains("not a token"));
  EXPECT_TRUE(set("x", "a\\r\\nb: c").contains("line's end"));
  EXPECT_TRUE(error_of("request_headers { remove: \"host\" }").contains("every request has one"));
  EXPECT_TRUE(error_of("redirect { status: 200 }").contains("redirect.status 200"));
  EXPECT_TRUE(error_of("direct_response { status: 99 }").contains("direct_response.status 99"));
  EXPECT_TRUE(error_of("fault { abort { http_status: 7 } }").contains("http_status 7"));
  EXPECT_TRUE(error_of("forward { destinations { destination { hostname: \"h\" } } }")
                  .contains("destination h: a destination's weight is 0"));
  EXPECT_TRUE(error_of("cors { origins { regex: \"(\" } }").contains("cors: "));
}

}  // namespace
}  // namespace weft::routing
