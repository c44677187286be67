// Limits, ejection and balancing as requests meet them, through a proxy in memory.
#include "tests/unit/ztunnel/waypoint/scripted.h"

#include <gmock/gmock.h>

#include <set>

namespace weft::waypoint {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::SizeIs;
using ::testing::StartsWith;

void policy(ScriptedProxy& shop, const std::string& text) {
  shop.net().policy() = routing::parsed<weft::route::Traffic>(text);
  shop.net().changed();
}

std::vector<std::string> statuses(const std::vector<std::string>& answers) {
  std::vector<std::string> made;
  for (const std::string& answer : answers) made.push_back(answer.substr(9, 3));
  std::ranges::sort(made);
  return made;
}

const std::string kGet = "GET /x HTTP/1.1\r\n";

TEST(Limits, ConnectionsAndPendingRequests) {
  ScriptedProxy shop;
  policy(shop, "limits { connections: 1 pending_requests: 1 }");
  shop.net().all_will("slow", 4);
  const auto answers = shop.ask_at_once(kGet, 4);
  EXPECT_THAT(statuses(answers), ::testing::ElementsAre("200", "200", "503", "503"));
  for (const std::string& answer : answers) {
    if (answer.substr(9, 3) != "503") continue;
    EXPECT_THAT(answer, AllOf(HasSubstr("x-envoy-overloaded: true"), HasSubstr("overflow")));
  }
  EXPECT_EQ(shop.net().dials, 1);
  EXPECT_EQ(std::ranges::count(shop.flags, "UO"), 2);
}

TEST(Limits, Requests) {
  ScriptedProxy shop;
  policy(shop, "limits { requests: 2 }");
  shop.net().all_will("slow", 3);
  EXPECT_THAT(statuses(shop.ask_at_once(kGet, 3)), ::testing::ElementsAre("200", "200", "503"));
  EXPECT_THAT(shop.get(), StartsWith("HTTP/1.1 200")) << "they were given back";
}

TEST(Limits, WhoWaitsForAConnectionGivesUpInTime) {
  ScriptedProxy shop;
  policy(shop, "limits { connections: 1 pending_requests: 1 }");
  shop.routes(R"(http { timeout_ms: 30 forward { destinations { weight: 1
    destination { namespace: "shop" hostname: "reviews" port: 80 } } } })");
  shop.net().will(1, {"hang"});
  EXPECT_THAT(statuses(shop.ask_at_once(kGet, 2)), ::testing::ElementsAre("504", "504"));
  EXPECT_THAT(shop.net().got, SizeIs(1));
  EXPECT_EQ(shop.outcome(), "200 -") << "nothing is left waiting";
}

TEST(Limits, RequestsOfAConnection) {
  ScriptedProxy shop;
  policy(shop, "limits { requests_per_connection: 2 }");
  for (int i = 0; i < 5; ++i) shop.get();
  EXPECT_EQ(shop.net().dials, 3);
  ScriptedProxy kept;
  for (int i = 0; i < 5; ++i) kept.get();
  EXPECT_EQ(kept.net().dials, 1);
}

TEST(Limits, Retries) {
  ScriptedProxy shop;
  policy(shop, "limits { retries: 1 }");
  shop.routes(R"(http { retry { attempts: 1 on: "5xx" backoff_base_ms: 1 }
    forward { destinations { weight: 1
      destination { namespace: "shop" hostname: "reviews" port: 80 } } } })");
  shop.net().will(1, std::vector<std::string>(3, "503"));
  shop.ask_at_once(kGet, 2);
  EXPECT_EQ(std::ranges::count(shop.flags, "UO"), 1) << "one retried, the other one was not let";
  shop.net().will(1, {"503"});
  EXPECT_EQ(shop.outcome(), "200 -") << "it was given back";
}

TEST(Ejection, AfterThreeErrorsAndWithReturn) {
  ScriptedProxy shop(2);
  policy(shop, R"(balancing { algorithm: ROUND_ROBIN }
    outlier { consecutive_5xx: 3 interval_ms: 10 ejection_ms: 20 ejection_percent_max: 100 })");
  shop.net().will(1, {"500", "500", "500"});
  for (int i = 0; i < 6; ++i) shop.get();
  shop.net().got.clear();
  for (int i = 0; i < 6; ++i) shop.get();
  for (const std::string& one : shop.net().got) EXPECT_THAT(one, StartsWith("10.0.0.2:"));
  shop.wait(std::chrono::milliseconds(60));
  shop.net().got.clear();
  for (int i = 0; i < 6; ++i) shop.get();
  EXPECT_EQ(
      std::ranges::count_if(shop.net().got,
                            [](const std::string& one) { return one.starts_with("10.0.0.1:"); }),
      3);
}

TEST(Ejection, WhoRefusesConnectionsIsEjectedAndNobodyLeftIsToldSo) {
  ScriptedProxy shop;
  policy(shop, "outlier { consecutive_5xx: 2 ejection_ms: 60000 ejection_percent_max: 100 }");
  shop.net().will(1, std::vector<std::string>(9, "refuse"));
  EXPECT_EQ(shop.outcome(), "503 UH") << "two tries eject it, the third finds nobody";
  EXPECT_EQ(shop.outcome(), "503 UH");
}

TEST(Balancing, AHeaderStaysWithItsEndpoint) {
  ScriptedProxy shop(4);
  policy(shop, R"(balancing { algorithm: RING_HASH hash_on { header: "x-user" } })");
  std::set<std::string> endpoints;
  for (int user = 0; user < 20; ++user) {
    const std::string header = "x-user: u" + std::to_string(user) + "\r\n";
    shop.get(header);
    const std::string first = shop.endpoints.back();
    shop.get(header);
    EXPECT_EQ(shop.endpoints.back(), first);
    endpoints.insert(first);
  }
  EXPECT_THAT(endpoints, SizeIs(4));
}

TEST(Balancing, ACookieIsMadeAndKept) {
  ScriptedProxy shop(4);
  policy(shop, R"(balancing { algorithm: MAGLEV hash_on { cookie { name: "s" ttl_s: 0 } } })");
  const std::string answer = shop.get();
  const size_t at = answer.find("set-cookie: s=");
  ASSERT_NE(at, std::string::npos) << answer;
  const std::string cookie = answer.substr(at + 12, answer.find(';', at) - at - 12);
  const std::string first = shop.endpoints.back();
  for (int i = 0; i < 5; ++i) {
    EXPECT_THAT(shop.get("cookie: " + cookie + "\r\n"), ::testing::Not(HasSubstr("set-cookie")));
    EXPECT_EQ(shop.endpoints.back(), first);
  }
}

TEST(Balancing, TheNextRegionServesWhenOursFails) {
  ScriptedProxy shop(2);
  policy(shop, R"(balancing { locality { enabled: true } }
    outlier { consecutive_5xx: 1 ejection_ms: 60000 ejection_percent_max: 100 })");
  shop.net().place(1, {"eu", "", "", {}});
  shop.net().place(2, {"us", "", "", {}});
  for (int i = 0; i < 10; ++i) {
    shop.get();
    EXPECT_EQ(shop.endpoints.back(), "10.0.0.1:80");
  }
  shop.net().will(1, {"503"});
  shop.get();
  for (int i = 0; i < 10; ++i) {
    EXPECT_EQ(shop.outcome(), "200 -");
    EXPECT_EQ(shop.endpoints.back(), "10.0.0.2:80");
  }
}

}  // namespace
}  // namespace weft::waypoint
