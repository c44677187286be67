#include "tests/unit/ztunnel/waypoint/scripted.h"

#include <gmock/gmock.h>

namespace weft::waypoint {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;
using ::testing::StartsWith;

constexpr std::string_view kForward = R"(forward { destinations { weight: 1
    destination { namespace: "shop" hostname: "reviews" port: 80 } } } )";

std::string route(const std::string& more) {
  return "http { name: \"r\" " + more + " " + std::string(kForward) + "}";
}

TEST(Forwarding, WithoutARouteOnlyConnectionsAreRetried) {
  ScriptedProxy shop;
  shop.net().will(1, {"refuse", "refuse", "200"});
  EXPECT_EQ(shop.outcome(), "200 -");
  EXPECT_THAT(shop.net().got, ElementsAre("10.0.0.1:80 GET /x  #3"));
  shop.net().will(1, {"503"});
  EXPECT_EQ(shop.outcome(), "503 -");
  ScriptedProxy down;
  down.net().will(1, {"refuse", "refuse", "refuse"});
  EXPECT_EQ(down.outcome(), "503 UF");
}

TEST(Forwarding, RetriesHideAFlakyEndpoint) {
  ScriptedProxy shop;
  shop.routes(route(R"(retry { attempts: 3 on: "5xx" backoff_base_ms: 1 })"));
  shop.net().will(1, {"503", "reset", "refuse", "200"});
  EXPECT_EQ(shop.outcome(), "200 -");
  EXPECT_THAT(shop.net().got, SizeIs(3));
  EXPECT_THAT(shop.net().got.back(), HasSubstr("#4"));
  shop.net().will(1, {"503", "503", "503", "502", "200"});
  EXPECT_EQ(shop.outcome(), "502 URX") << "one and three more";
}

TEST(Forwarding, RetriesGoToOtherEndpoints) {
  ScriptedProxy shop(3);
  shop.routes(
      route(R"(retry { attempts: 2 on: "5xx" backoff_base_ms: 1 avoid_previous_hosts: true })"));
  shop.net().will(1, std::vector<std::string>(100, "503"));
  for (int turn = 0; turn < 30; ++turn) {
    ASSERT_EQ(shop.outcome(), "200 -");
    ASSERT_NE(shop.endpoints.back(), "10.0.0.1:80");
  }
  EXPECT_GT(
      std::ranges::count_if(shop.net().got,
                            [](const std::string& one) { return one.starts_with("10.0.0.1:"); }),
      0);
}

TEST(Forwarding, ABodyIsSentAgain) {
  ScriptedProxy shop;
  shop.routes(route(R"(retry { attempts: 2 on: "5xx" backoff_base_ms: 1 })"));
  shop.net().will(1, {"503", "reset", "200"});
  const std::string body(100'000, 'b');
  const std::string answer = shop.ask("POST /x HTTP/1.1\r\n", body);
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 200"));
  ASSERT_THAT(shop.net().got, SizeIs(3));
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(shop.net().got[static_cast<size_t>(i)] ==
                "10.0.0.1:80 POST /x " + body + " #" + std::to_string(i + 1));
  }
}

TEST(Forwarding, ABodyBeyondTheBoundIsSentOnce) {
  ScriptedProxy shop;
  shop.routes(route(R"(retry { attempts: 2 on: "5xx" backoff_base_ms: 1 })"));
  shop.net().will(1, {"503", "200"});
  const std::string body(KeptBudget::kRequestMax + 1, 'b');
  EXPECT_THAT(shop.ask("POST /x HTTP/1.1\r\n", body), StartsWith("HTTP/1.1 503"));
  EXPECT_THAT(shop.net().got, SizeIs(1));
}

TEST(Forwarding, GrpcStatusesAreRetried) {
  ScriptedProxy shop;
  shop.routes(route(R"(retry { attempts: 1 on: "unavailable" backoff_base_ms: 1 })"));
  shop.net().will(1, {"grpc 14", "grpc 0"});
  EXPECT_THAT(shop.get("content-type: application/grpc\r\n"), HasSubstr("grpc-status: 0"));
}

TEST(Forwarding, ATimeoutIsOfAllTries) {
  ScriptedProxy shop;
  shop.routes(route(R"(timeout_ms: 30 retry { attempts: 5 on: "5xx" })"));
  shop.net().will(1, {"hang"});
  EXPECT_EQ(shop.outcome(), "504 UT");
  EXPECT_THAT(shop.net().got, SizeIs(1));
}

TEST(Forwarding, ATryHasATimeoutOfItsOwn) {
  ScriptedProxy shop;
  shop.routes(
      route(R"(retry { attempts: 1 on: "5xx" per_try_timeout_ms: 20 backoff_base_ms: 1 })"));
  shop.net().will(1, {"hang", "200"});
  EXPECT_EQ(shop.outcome(), "200 -");
  shop.net().will(1, {"hang", "hang"});
  EXPECT_EQ(shop.outcome(), "504 UT");
}

TEST(Forwarding, FaultsOfAHundredPercent) {
  ScriptedProxy shop;
  shop.routes(route(R"(fault { abort { per_million: 1000000 http_status: 418 } })"));
  EXPECT_EQ(shop.outcome(), "418 FI");
  shop.routes(route(R"(fault { abort { per_million: 0 http_status: 418 } })"));
  EXPECT_EQ(shop.outcome(), "200 -");
  shop.routes(route(R"(fault { abort { per_million: 1000000 grpc_status: 7 } })"));
  EXPECT_THAT(shop.get(), HasSubstr("grpc-status: 7"));
  shop.routes(route(R"(fault { delay { per_million: 1000000 delay_ms: 40 } })"));
  const auto before = std::chrono::steady_clock::now();
  EXPECT_EQ(shop.outcome(), "200 DI");
  EXPECT_GE(std::chrono::steady_clock::now() - before, std::chrono::milliseconds(39));
  EXPECT_THAT(shop.net().got, SizeIs(2));
}

TEST(Forwarding, AMirrorGetsAWholeCopyAndNobodyWaits) {
  ScriptedProxy shop(2);
  shop.net().policy().mutable_balancing()->set_algorithm(weft::route::Balancing::ROUND_ROBIN);
  shop.routes(route(R"(mirrors { per_million: 1000000
    destination { namespace: "shop" hostname: "mirrored" port: 80 } })"));
  EXPECT_THAT(shop.ask("POST /x HTTP/1.1\r\n", "hello"), StartsWith("HTTP/1.1 200"));
  EXPECT_THAT(shop.get(), StartsWith("HTTP/1.1 200"));
  // Both copies were begun before their answers came; the next exchange lets them end.
  shop.routes(route(""));
  shop.get();
  ASSERT_THAT(shop.net().got, SizeIs(5));
  EXPECT_EQ(
      std::ranges::count_if(shop.net().got,
                            [](const std::string& one) { return one.contains("POST /x hello"); }),
      2);
}

TEST(Forwarding, TheRouteChangesTheAnswer) {
  ScriptedProxy shop;
  shop.routes(route(R"(response_headers { set { name: "x-up" value: "%UPSTREAM_HOST%" }
    set { name: "x-route" value: "%ROUTE_NAME%" } })"));
  const std::string answer = shop.get();
  EXPECT_THAT(answer, HasSubstr("x-up: 10.0.0.1:80\r\n"));
  EXPECT_THAT(answer, HasSubstr("x-route: r\r\n"));
}

TEST(Forwarding, NoHostNoRouteNoEndpoint) {
  ScriptedProxy shop;
  shop.routes(R"(http { matches { path { exact: "/y" } } })");
  EXPECT_EQ(shop.outcome(), "404 NR");
  shop.routes(R"(http { forward { destinations { weight: 1 destination { } } } })");
  EXPECT_EQ(shop.outcome(), "500 NC");
  shop.routes(
      R"(http { forward { destinations { weight: 1 destination { hostname: "empty" } } } })");
  EXPECT_EQ(shop.outcome(), "503 UH");
}

}  // namespace
}  // namespace weft::waypoint
