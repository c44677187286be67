#include "ztunnel/base/spiffe_id.h"

#include <gtest/gtest.h>

namespace weft {
namespace {

TEST(SpiffeId, ReadsAndWrites) {
  const std::string uri = "spiffe://cluster.local/ns/default/sa/book-info_v1.2";
  const Result<SpiffeId> id = SpiffeId::parse(uri);
  ASSERT_TRUE(id.has_value());
  EXPECT_EQ(id->trust_domain, "cluster.local");
  EXPECT_EQ(id->ns, "default");
  EXPECT_EQ(id->service_account, "book-info_v1.2");
  EXPECT_EQ(id->to_string(), uri);
  EXPECT_EQ(id->principal(), "cluster.local/ns/default/sa/book-info_v1.2");
}

TEST(SpiffeId, RefusesEverythingElse) {
  const std::string nul = std::string("spiffe://td/ns/a/sa/b") + '\0';
  for (const std::string& uri : {std::string(),
                                 std::string("spiffe://"),
                                 std::string("td/ns/a/sa/b"),
                                 std::string("SPIFFE://td/ns/a/sa/b"),
                                 std::string("https://td/ns/a/sa/b"),
                                 std::string("spiffe://td/ns/a/sa"),
                                 std::string("spiffe://td/ns/a/sa/"),
                                 std::string("spiffe://td/ns/a/sa/b/"),
                                 std::string("spiffe://td/ns/a/sa/b/c"),
                                 std::string("spiffe://td/ns//sa/b"),
                                 std::string("spiffe:///ns/a/sa/b"),
                                 std::string("spiffe://td/NS/a/sa/b"),
                                 std::string("spiffe://td/sa/a/ns/b"),
                                 std::string("spiffe://td/ns/../sa/b"),
                                 std::string("spiffe://td/ns/./sa/b"),
                                 std::string("spiffe://td/ns/a%2Fb/sa/c"),
                                 std::string("spiffe://td:80/ns/a/sa/b"),
                                 std::string("spiffe://u@td/ns/a/sa/b"),
                                 std::string("spiffe://td/ns/a/sa/b?x"),
                                 std::string("spiffe://td/ns/a/sa/b#x"),
                                 std::string("spiffe://td/ns/a b/sa/c"),
                                 std::string("spiffe://td/ns/a\n/sa/b"),
                                 std::string("spiffe://td/ns/a/sa/\xC3\xA9"),
                                 nul,
                                 "spiffe://td/ns/a/sa/" + std::string(3000, 'b')}) {
    const Result<SpiffeId> id = SpiffeId::parse(uri);
    ASSERT_FALSE(id.has_value()) << uri;
    EXPECT_EQ(id.error().code, Code::kInvalid);
    EXPECT_LT(id.error().message.size(), 2200U);
  }
}

TEST(SpiffeId, LongestUriOfTheSpecificationIsTaken) {
  const std::string begin = "spiffe://td/ns/a/sa/";
  EXPECT_TRUE(SpiffeId::parse(begin + std::string(2048 - begin.size(), 'b')).has_value());
  EXPECT_FALSE(SpiffeId::parse(begin + std::string(2049 - begin.size(), 'b')).has_value());
}

TEST(SpiffeId, DifferInEveryPart) {
  const SpiffeId id{"td", "ns", "sa"};
  EXPECT_NE(id, (SpiffeId{"other", "ns", "sa"}));
  EXPECT_NE(id, (SpiffeId{"td", "other", "sa"}));
  EXPECT_NE(id, (SpiffeId{"td", "ns", "other"}));
  EXPECT_EQ(std::hash<SpiffeId>{}(id), std::hash<SpiffeId>{}(SpiffeId{"td", "ns", "sa"}));
}

}  // namespace
}  // namespace weft
