#include "ztunnel/telemetry/expression.h"

#include "tests/unit/ztunnel/telemetry/request_sample.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace weft::telemetry {
namespace {

using testing::HasSubstr;

std::string said(const std::string& text, const RequestFacts& facts) {
  const auto parsed = Expression::parse(text);
  return parsed ? text_of(parsed->value(facts)) : parsed.error().message;
}

TEST(Expression, AsksForWhatIsKnown) {
  const SampleRequest sample;
  const std::pair<const char*, const char*> kCases[] = {
      {"response.code >= 400", "false"},
      {"response.code == 200 && request.method == 'GET'", "true"},
      {"request.url_path.startsWith('/ratings')", "true"},
      {"request.path.endsWith('full=yes')", "true"},
      {"request.path.contains(\"ings\")", "true"},
      {"request.path.matches('/ratings/[0-9]+')", "true"},
      {"matches(request.host, '^x')", "false"},
      {"request.headers['X-Team']", "blue"},
      {"request.headers.x_team == null", "true"},
      {"has(request.headers['x-team']) && !has(request.headers['x-other'])", "true"},
      {"'x-team' in request.headers", "true"},
      {"request.method in ['PUT', 'GET']", "true"},
      {"response.code in [500, 503]", "false"},
      {"connection.mtls", "true"},
      {"connection.uri_san_peer_certificate", "spiffe://cluster.local/ns/shop/sa/reviews"},
      {"request.size + response.size", "357"},
      {"request.duration < 0.005", "true"},
      {"size(request.query)", "8"},
      {"xds.route_name", "ratings.rule-0"},
      {"destination.port == 9080 ? 'ratings' : 'other'", "ratings"},
      {"string(response.code) + '/' + request.protocol", "200/HTTP/1.1"},
      {"int('12') * 2 - 3 % 2", "23"},
      {"-(1 + 2) == -3", "true"},
      {"!(1 > 2) || false", "true"},
      {"metadata.filter_metadata['x']", "unknown"},
      {"filter_state.upstream_peer.workload", "unknown"},
      {"7 / 2", "3"},
      {"7.0 / 2", "3.5"},
  };
  for (const auto& [text, expected] : kCases) EXPECT_EQ(said(text, sample.facts), expected) << text;
}

TEST(Expression, HasNoValueWhereSomethingIsMissing) {
  const SampleRequest sample;
  for (const char* text :
       {"response.grpc_status == 0", "request.headers['none'] == 'x'", "1 + 'a'", "1 / 0", "1 % 0",
        "9223372036854775807 + 1", "!1", "1 < 'a'", "request.method ? 1 : 2", "int('x')",
        "request.referer.size() > 1", "true && request.size"}) {
    EXPECT_EQ(said(text, sample.facts), "unknown") << text;
    EXPECT_FALSE(Expression::parse(text)->holds(sample.facts)) << text;
  }
  // One side decides.
  EXPECT_EQ(said("response.grpc_status == 0 || response.code == 200", sample.facts), "true");
  EXPECT_EQ(said("response.grpc_status == 0 && response.code == 404", sample.facts), "false");
  EXPECT_EQ(said("response.grpc_status == null", sample.facts), "true");
}

TEST(Expression, RefusesWhatItCannotRead) {
  const SampleRequest sample;
  const std::pair<std::string, const char*> kCases[] = {
      {"", "character 1: expected a value"},
      {"response.code >=", "expected a value"},
      {"response.status == 1", "there is no attribute"},
      {"bogus", "there is no attribute \"bogus\""},
      {"request.method.shout()", "there is no function \"shout\""},
      {"shout(1)", "there is no function"},
      {"request.method[0]", "a name in quotes"},
      {"request.method['x']", "expected headers"},
      {"'open", "closing quote"},
      {"request.path.matches('(')", "the pattern"},
      {"request.path.matches(request.method)", "a pattern in quotes"},
      {"has(1, 2)", "too many arguments"},
      {"size()", "too few"},
      {"1 2", "expected its end"},
      {"99999999999999999999e999", "out of range"},
      {std::string(200, '('), "too deep"},
      {std::string(200, '!') + "true", "too deep"},
      {std::string(Expression::kTextBytesMax + 1, ' '), "too long"},
  };
  for (const auto& [text, expected] : kCases) {
    EXPECT_THAT(said(text, sample.facts), HasSubstr(expected)) << text;
  }
  std::string chain = "1";
  while (chain.size() + 2 < Expression::kTextBytesMax) chain += "+1";
  EXPECT_TRUE(Expression::parse(chain));
}

}  // namespace
}  // namespace weft::telemetry
