#include "ztunnel/routing/hash_key.h"

#include "tests/unit/ztunnel/routing/requests.h"

#include <gtest/gtest.h>

namespace weft::routing {
namespace {

HashKey key_of(const std::string& on, const http::RequestHead& request) {
  return hash_key(parsed<weft::route::Balancing::HashOn>(on), request,
                  *IpAddress::parse("10.0.0.7"), 0xabc);
}

TEST(HashKey, IsXxHash64) {
  EXPECT_EQ(hash_text(""), 0xef46db3751d8e999U);  // xxHash's own test vectors, seed 0
  EXPECT_EQ(hash_text("a"), 0xd24ec4f1a98c6e5bU);
}

TEST(HashKey, OfHeaderQueryAndAddress) {
  EXPECT_EQ(key_of("header: \"x-user\"", get("/", {{"x-user", "ann"}})).hash, hash_text("ann"));
  EXPECT_EQ(key_of("header: \"x-user\"", get("/")).hash, std::nullopt);
  EXPECT_EQ(key_of("query: \"u\"", get("/?v=1&u=ann&w")).hash, hash_text("ann"));
  EXPECT_EQ(key_of("query: \"u\"", get("/?uu=1")).hash, std::nullopt);
  EXPECT_EQ(key_of("source_ip: true", get("/")).hash, hash_text("10.0.0.7"));
  EXPECT_EQ(key_of("", get("/")).hash, std::nullopt);
}

TEST(HashKey, OfACookie) {
  const std::string on = R"(cookie { name: "session" path: "/shop" ttl_s: 60
                                    attributes: "SameSite=Lax" })";
  const auto came = key_of(on, get("/", {{"cookie", "a=b; session=\"q\"; c"}}));
  EXPECT_EQ(came.hash, hash_text("q"));
  EXPECT_EQ(came.set_cookie, "");
  EXPECT_EQ(key_of(on, get("/", {{"cookie", "x=1"}, {"cookie", "session=q"}})).hash,
            hash_text("q"));
  const auto made = key_of(on, get("/", {{"cookie", "xsession=q"}}));
  EXPECT_EQ(made.hash, hash_text("0000000000000abc"));
  EXPECT_EQ(made.set_cookie,
            "session=\"0000000000000abc\"; Max-Age=60; Path=/shop; SameSite=Lax; HttpOnly");
}

TEST(HashKey, ACookieIsMadeWhereItHasATimeToLive) {
  EXPECT_EQ(key_of(R"(cookie { name: "s" })", get("/")).hash, std::nullopt);
  EXPECT_EQ(key_of(R"(cookie { name: "s" ttl_s: 0 })", get("/")).set_cookie,
            "s=\"0000000000000abc\"; HttpOnly");
}

}  // namespace
}  // namespace weft::routing
