#include "ztunnel/waypoint/retry.h"

#include "tests/unit/ztunnel/routing/requests.h"

#include <gtest/gtest.h>

#include <set>

namespace weft::waypoint {
namespace {

using routing::get;
using routing::parsed;
using std::chrono::milliseconds;
using Kind = Outcome::Kind;

RetryRules rules_of(const std::string& words, const routing::Headers& headers = {}) {
  weft::route::Retry retry;
  retry.set_attempts(2);
  retry.add_on(words);
  retry.add_statuses(418);
  return {&retry, get("/", headers)};
}

bool wants(const RetryRules& rules, Kind kind, bool sent = true) {
  return rules.wants({.kind = kind, .request_sent = sent, .answer = nullptr});
}

bool wants_answer(const RetryRules& rules, int status, const routing::Headers& headers = {}) {
  http::ResponseHead head;
  head.status = status;
  for (const auto& [name, value] : headers) head.fields.add(name, value);
  return rules.wants({.kind = Kind::kAnswer, .request_sent = true, .answer = &head});
}

// Every word, and each ending that it retries; it retries no other one.
TEST(Retry, EveryWordRetriesItsOwn) {
  struct Row {
    std::string word;
    std::set<std::string> retried;
  };
  const std::set<std::string> failures{"connect", "refused",      "refused-unsent",
                                       "reset",   "reset-unsent", "timeout"};
  const auto with = [&](std::set<std::string> more) {
    more.insert(failures.begin(), failures.end());
    return more;
  };
  for (const Row& row : std::initializer_list<Row>{
           {"5xx", with({"500", "502", "503", "504"})},
           {"gateway-error", with({"502", "503", "504"})},
           {"reset", failures},
           {"reset-before-request", {"connect", "refused-unsent", "reset-unsent"}},
           {"connect-failure", {"connect"}},
           {"refused-stream", {"refused", "refused-unsent"}},
           {"retriable-4xx", {"409"}},
           {"retriable-status-codes", {"418"}},
           {"envoy-ratelimited", {"ratelimited"}},
           {"cancelled", {"grpc 1"}},
           {"deadline-exceeded", {"grpc 4"}},
           {"resource-exhausted", {"grpc 8"}},
           {"internal", {"grpc 13"}},
           {"unavailable", {"grpc 14"}},
           {"nonsense", {}},
       }) {
    const RetryRules rules = rules_of(row.word);
    std::set<std::string> retried;
    const auto note = [&](bool wanted, const std::string& what) {
      if (wanted) retried.insert(what);
    };
    note(wants(rules, Kind::kConnectFailure, false), "connect");
    note(wants(rules, Kind::kRefused), "refused");
    note(wants(rules, Kind::kRefused, false), "refused-unsent");
    note(wants(rules, Kind::kReset), "reset");
    note(wants(rules, Kind::kReset, false), "reset-unsent");
    note(wants(rules, Kind::kTimeout), "timeout");
    note(wants(rules, Kind::kOverflow, false), "overflow");
    for (const int status : {200, 400, 409, 418, 500, 502, 503, 504}) {
      note(wants_answer(rules, status), std::to_string(status));
    }
    note(wants_answer(rules, 503, {{"x-envoy-ratelimited", "true"}}), "ratelimited");
    for (const std::string code : {"0", "1", "2", "4", "8", "13", "14"}) {
      note(wants_answer(rules, 200, {{"grpc-status", code}}), "grpc " + code);
    }
    EXPECT_EQ(retried, row.retried) << row.word;
    EXPECT_EQ(rules.attempts(), row.retried.empty() ? 0 : 2);
  }
}

TEST(Retry, IstiosDefaultRetriesNoPlain503) {
  weft::route::Retry retry;
  retry.set_attempts(2);
  for (const auto* word : {"connect-failure", "refused-stream", "unavailable", "cancelled",
                           "retriable-status-codes"}) {
    retry.add_on(word);
  }
  const RetryRules rules(&retry, get("/"));
  EXPECT_TRUE(wants(rules, Kind::kConnectFailure));
  EXPECT_FALSE(wants_answer(rules, 503));
  EXPECT_FALSE(wants(rules, Kind::kReset));
  const RetryRules asked(&retry, get("/", {{"x-envoy-retriable-status-codes", "500, 503"}}));
  EXPECT_TRUE(wants_answer(asked, 503));
}

TEST(Retry, HeadersOfTheRequest) {
  EXPECT_EQ(RetryRules(nullptr, get("/")).attempts(), 0);
  EXPECT_EQ(RetryRules(nullptr, get("/", {{"x-envoy-max-retries", "3"}})).attempts(), 0);
  const RetryRules once(nullptr, get("/", {{"x-envoy-retry-on", "5xx, reset"}}));
  EXPECT_EQ(once.attempts(), 1);
  EXPECT_TRUE(wants_answer(once, 500));
  const RetryRules more(
      nullptr, get("/", {{"x-envoy-retry-grpc-on", "unavailable"}, {"x-envoy-max-retries", "7"}}));
  EXPECT_EQ(more.attempts(), 7);
  EXPECT_EQ(rules_of("5xx", {{"x-envoy-max-retries", "0"}}).attempts(), 0);
  EXPECT_EQ(rules_of("5xx", {{"x-envoy-max-retries", "4000000000"}}).attempts(), 100);
  EXPECT_EQ(rules_of("5xx", {{"x-envoy-max-retries", "-1"}}).attempts(), 2);
  auto head = get("/", {{"x-envoy-retry-on", "5xx"}, {"x-envoy-max-retries", "1"}, {"x-a", "b"}});
  remove_retry_headers(head);
  EXPECT_EQ(head.fields.all().size(), 1);
}

TEST(Retry, PausesAreFullyJitteredAndBounded) {
  const RetryRules rules = rules_of("5xx");
  for (const auto& [retry, bound] : std::initializer_list<std::pair<uint32_t, int>>{
           {1, 25}, {2, 75}, {3, 175}, {4, 250}, {40, 250}}) {
    EXPECT_EQ(rules.pause(retry, 0), milliseconds(0));
    EXPECT_EQ(rules.pause(retry, static_cast<uint64_t>(bound) - 1), milliseconds(bound - 1));
    EXPECT_EQ(rules.pause(retry, static_cast<uint64_t>(bound)), milliseconds(0));
  }
  const auto config = parsed<weft::route::Retry>("backoff_base_ms: 100 backoff_max_ms: 150");
  const RetryRules slow(&config, get("/"));
  EXPECT_EQ(slow.pause(1, 99), milliseconds(99));
  EXPECT_EQ(slow.pause(2, 149), milliseconds(149));
  EXPECT_EQ(slow.pause(2, 150), milliseconds(0));
}

TEST(GrpcTimeout, Table) {
  for (const auto& [text, ms] :
       std::initializer_list<std::pair<std::string_view, int64_t>>{{"1H", 3'600'000},
                                                                   {"2M", 120'000},
                                                                   {"3S", 3000},
                                                                   {"4m", 4},
                                                                   {"1u", 1},
                                                                   {"1500u", 2},
                                                                   {"1n", 1},
                                                                   {"0S", 0},
                                                                   {"99999999m", 99'999'999}}) {
    EXPECT_EQ(parse_grpc_timeout(text), milliseconds(ms)) << text;
  }
  for (const std::string_view text :
       {"", "1", "S", "100000000m", "-1S", "1s", "1 S", " 1S", "1Sx"}) {
    EXPECT_EQ(parse_grpc_timeout(text), std::nullopt) << text;
  }
}

TEST(Deadlines, OfRouteHeadersAndGrpc) {
  const auto route =
      parsed<weft::route::HttpRoute>("timeout_ms: 500 retry { per_try_timeout_ms: 200 }");
  const auto both = [](const Deadlines& of) {
    return std::pair(of.whole.count(), of.per_try.count());
  };
  EXPECT_EQ(both(deadlines_of(nullptr, get("/"))), std::pair(0L, 0L));
  EXPECT_EQ(both(deadlines_of(&route, get("/"))), std::pair(500L, 200L));
  EXPECT_EQ(
      both(deadlines_of(&route, get("/", {{"x-envoy-upstream-rq-timeout-ms", "300"},
                                          {"x-envoy-upstream-rq-per-try-timeout-ms", "30"}}))),
      std::pair(300L, 30L));
  // A try's timeout that cannot come before the whole one's is none.
  EXPECT_EQ(both(deadlines_of(&route, get("/", {{"x-envoy-upstream-rq-timeout-ms", "150"}}))),
            std::pair(150L, 0L));
  const routing::Headers grpc{{"content-type", "application/grpc+proto"}, {"grpc-timeout", "100m"}};
  EXPECT_EQ(both(deadlines_of(&route, get("/", grpc))), std::pair(100L, 0L));
  EXPECT_EQ(both(deadlines_of(nullptr, get("/", grpc))), std::pair(100L, 0L));
  EXPECT_EQ(both(deadlines_of(&route, get("/", {{"grpc-timeout", "100m"}}))),
            std::pair(500L, 200L));
  EXPECT_EQ(both(deadlines_of(
                &route, get("/", {{"content-type", "application/grpc"}, {"grpc-timeout", "9S"}}))),
            std::pair(500L, 200L));
}

}  // namespace
}  // namespace weft::waypoint
