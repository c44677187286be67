// find() must agree with find_slowly() on random tables and requests from a small alphabet, so that
// they hit each other's routes often.
#include "tests/unit/ztunnel/routing/requests.h"
#include "ztunnel/routing/route.h"
#include "ztunnel/routing/table.h"

#include <gtest/gtest.h>

#include <random>

namespace weft::routing {
namespace {

class Dice {
 public:
  explicit Dice(uint32_t seed) : bits_(seed) {}
  uint32_t below(uint32_t bound) { return bits_() % bound; }
  bool one_in(uint32_t n) { return below(n) == 0; }

  std::string path() {
    static const std::vector<std::string> kParts{"/", "a", "b", "A", "/a", "/b/", "ab"};
    std::string made = one_in(8) ? "" : "/";
    for (auto left = below(5); left > 0; --left) made += kParts[below(kParts.size())];
    return made;
  }
  std::string value() {
    static const std::vector<std::string> kValues{"", "a", "ab", "b", "A", "a,b"};
    return kValues[below(kValues.size())];
  }
  std::string regex() {
    static const std::vector<std::string> kRegexes{".*",    "a.*",     "/(a|b)*",
                                                   "[ab]+", "/.*/b.*", "a?"};
    return kRegexes[below(kRegexes.size())];
  }
  std::string name() { return one_in(2) ? "x-a" : "x-b"; }
  std::string authority() {
    static const std::vector<std::string> kHosts{"a", "a:80", "b", "b:x", "[::1]:80", "ab:"};
    return kHosts[below(kHosts.size())];
  }

 private:
  std::mt19937 bits_;
};

void fill(weft::route::StringMatch& match, std::string value, Dice& dice) {
  switch (dice.below(5)) {
    case 0:
      return match.set_exact(value);
    case 1:
      return match.set_prefix(value);
    case 2:
      return match.set_regex(dice.regex());
    case 3:
      return match.set_present(true);
    default:
      return;
  }
}

void fill(weft::route::HttpMatch& match, Dice& dice) {
  weft::route::HttpMatch::Path& path = *match.mutable_path();
  switch (dice.below(7)) {
    case 0:
    case 1:
      path.set_exact(dice.path());
      break;
    case 2:
    case 3:
      path.set_prefix(dice.path());
      break;
    case 4:
      path.set_segment_prefix(dice.path());
      break;
    case 5:
      path.set_regex(dice.regex());
      break;
    default:
      match.clear_path();
  }
  if (match.has_path() && !path.has_regex()) path.set_ignore_case(dice.one_in(3));
  if (dice.one_in(4)) fill(*match.mutable_method(), "GET", dice);
  if (dice.one_in(4)) fill(*match.mutable_authority(), dice.authority(), dice);
  for (auto* named : {match.mutable_headers(), match.mutable_query()}) {
    for (auto left = dice.one_in(2) ? 0 : dice.below(3); left > 0; --left) {
      auto& one = *named->Add();
      one.set_name(dice.name());
      one.set_invert(dice.one_in(3));
      fill(*one.mutable_value(), dice.value(), dice);
    }
  }
}

weft::route::Port random_port(Dice& dice) {
  weft::route::Port port;
  for (auto routes = dice.below(10); routes > 0; --routes) {
    weft::route::HttpRoute& route = *port.add_http();
    route.set_name(std::to_string(routes));
    for (auto matches = dice.below(4); matches > 0; --matches) {
      auto& match = *route.add_matches();
      if (dice.one_in(2)) match.set_name(std::to_string(matches));
      fill(match, dice);
    }
    // A catch-all too early would hide everything behind it.
    if (route.matches().empty() && !dice.one_in(5)) fill(*route.add_matches(), dice);
  }
  return port;
}

http::RequestHead random_request(Dice& dice) {
  std::string path = dice.path();
  if (dice.one_in(2)) {
    path += "?" + dice.name() + (dice.one_in(3) ? "" : "=" + dice.value());
    if (dice.one_in(2)) path += "&" + dice.name() + "=" + dice.value();
  }
  if (dice.one_in(20)) path = "*";
  http::RequestHead head = request(dice.one_in(3) ? "POST" : "GET", path, {}, dice.authority());
  for (auto left = dice.below(4); left > 0; --left) head.fields.add(dice.name(), dice.value());
  return head;
}

TEST(Differential, FindAgreesWithTheSlowReference) {
  Dice dice(20260101);
  int matched = 0;
  int unmatched = 0;
  for (int turn = 0; turn < 4'000; ++turn) {
    const weft::route::Port port = random_port(dice);
    const auto table = Table::compile(port);
    ASSERT_TRUE(table) << table.error().to_string();
    for (int asked = 0; asked < 12; ++asked) {
      const http::RequestHead head = random_request(dice);
      const Match fast = (*table)->find(head);
      const Match slow = find_slowly(**table, head);
      ASSERT_EQ(fast.route, slow.route) << port.DebugString() << head.path << " " << head.authority;
      ASSERT_EQ(fast.name, slow.name) << port.DebugString() << head.path;
      ASSERT_EQ(fast.prefix_bytes, slow.prefix_bytes) << port.DebugString() << head.path;
      (fast.route == nullptr ? unmatched : matched) += 1;
    }
  }
  EXPECT_GT(matched, 5'000);
  EXPECT_GT(unmatched, 5'000);
}

}  // namespace
}  // namespace weft::routing
