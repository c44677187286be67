#include "ztunnel/routing/cors.h"

#include "tests/unit/ztunnel/routing/requests.h"

#include <gtest/gtest.h>

namespace weft::routing {
namespace {

const std::string kShop = R"(
  origins { exact: "https://shop.example" } origins { regex: "https://.*\\.dev" }
  methods: "GET" methods: "PUT" headers: "x-a" headers: "x-b" expose: "x-c" max_age_s: 600)";

Cors cors_of(const std::string& text) {
  auto made = Cors::compile(parsed<weft::route::Cors>(text));
  EXPECT_TRUE(made) << made.error().to_string();
  return *std::move(made);
}

http::RequestHead preflight_of(std::string_view origin) {
  return request("OPTIONS", "/",
                 {{"origin", origin},
                  {"access-control-request-method", "PUT"},
                  {"access-control-request-headers", "x-q"}});
}

TEST(Cors, APreflightOfAnAllowedOriginIsAnswered) {
  const auto answer = cors_of(kShop).preflight(preflight_of("https://shop.example"));
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->status, 200);
  EXPECT_EQ(answer->fields.get("access-control-allow-origin"), "https://shop.example");
  EXPECT_EQ(answer->fields.get("access-control-allow-methods"), "GET,PUT");
  EXPECT_EQ(answer->fields.get("access-control-allow-headers"), "x-a,x-b");
  EXPECT_EQ(answer->fields.get("access-control-max-age"), "600");
  EXPECT_EQ(answer->fields.count("access-control-allow-credentials"), 0);
  EXPECT_EQ(answer->fields.count("access-control-expose-headers"), 0);
  EXPECT_TRUE(cors_of(kShop).preflight(preflight_of("https://me.dev")));
}

TEST(Cors, APreflightOfAnotherOriginIsForwardedOrToldNothing) {
  const auto answer = cors_of(kShop).preflight(preflight_of("https://evil.example"));
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->status, 200);
  EXPECT_TRUE(answer->fields.empty());
  const Cors forwards = cors_of(kShop + " forward_unmatched_preflights: true");
  EXPECT_FALSE(forwards.preflight(preflight_of("https://evil.example")));
  EXPECT_TRUE(forwards.preflight(preflight_of("https://shop.example")));
}

TEST(Cors, WhatIsNoPreflightIsForwarded) {
  const Cors cors = cors_of(kShop);
  EXPECT_FALSE(cors.preflight(request("OPTIONS", "/", {{"origin", "https://shop.example"}})));
  EXPECT_FALSE(cors.preflight(request(
      "GET", "/", {{"origin", "https://shop.example"}, {"access-control-request-method", "PUT"}})));
  EXPECT_FALSE(cors.preflight(request("OPTIONS", "/", {{"access-control-request-method", "PUT"}})));
}

TEST(Cors, AnAnswerIsToldToAnAllowedOriginOnly) {
  const Cors cors = cors_of(kShop + " credentials: true");
  http::ResponseHead response;
  response.fields.add("access-control-allow-origin", "*");
  cors.tell(get("/", {{"origin", "https://shop.example"}}), response);
  EXPECT_EQ(response.fields.count("access-control-allow-origin"), 1);
  EXPECT_EQ(response.fields.get("access-control-allow-origin"), "https://shop.example");
  EXPECT_EQ(response.fields.get("access-control-allow-credentials"), "true");
  EXPECT_EQ(response.fields.get("access-control-expose-headers"), "x-c");
  http::ResponseHead other;
  cors.tell(get("/", {{"origin", "https://evil.example"}}), other);
  cors.tell(get("/"), other);
  EXPECT_TRUE(other.fields.empty());
}

TEST(Cors, WithCredentialsAStarIsWhatWasAsked) {
  const std::string star = R"(origins { exact: "https://a" } methods: "*" headers: "*")";
  const auto plain = cors_of(star).preflight(preflight_of("https://a"));
  EXPECT_EQ(plain->fields.get("access-control-allow-methods"), "*");
  const auto echoed = cors_of(star + " credentials: true").preflight(preflight_of("https://a"));
  EXPECT_EQ(echoed->fields.get("access-control-allow-methods"), "PUT");
  EXPECT_EQ(echoed->fields.get("access-control-allow-headers"), "x-q");
}

}  // namespace
}  // namespace weft::routing
