#include "ztunnel/dns/name.h"

#include <gtest/gtest.h>

#include <string>

namespace weft::dns {
namespace {

TEST(Name, IsReadAndShown) {
  EXPECT_EQ(Name::parse("a.example.com")->wire(), std::string_view("\1a\7example\3com\0", 15));
  EXPECT_EQ(Name::parse("a.example.com.")->to_text(), "a.example.com");
  EXPECT_EQ(Name::parse("")->to_text(), ".");
  EXPECT_TRUE(Name::parse(".")->is_root());
  EXPECT_EQ(Name::parse("WEB.Shop")->to_text(), "WEB.Shop");
  EXPECT_EQ(Name::parse("WEB.Shop")->key(), "web.shop");
}

TEST(Name, WhatDoesNotFitIsRefused) {
  EXPECT_TRUE(Name::parse(std::string(63, 'a')));
  EXPECT_FALSE(Name::parse(std::string(64, 'a')));
  EXPECT_FALSE(Name::parse("a..b"));
  EXPECT_FALSE(Name::parse(".a"));
  EXPECT_FALSE(Name::parse("a.."));
  std::string longest;  // 1 + 127 * 2 = 255 bytes
  for (int i = 0; i < 127; ++i) longest += "a.";
  EXPECT_TRUE(Name::parse(longest));
  EXPECT_FALSE(Name::parse(longest + "a"));
}

TEST(Name, OneLabelWithADotIsNotTwoLabels) {
  Name one;
  ASSERT_TRUE(one.append("a.b"));
  EXPECT_EQ(one.to_text(), "a\\046b");
  EXPECT_NE(one.key(), Name::parse("a.b")->key());
  Name odd;
  ASSERT_TRUE(odd.append(std::string_view("\0\x7f\\ ", 4)));
  EXPECT_EQ(odd.to_text(), "\\000\\127\\092\\032");
}

TEST(Name, CaseDoesNotMatterWhereItShallNot) {
  EXPECT_TRUE(Name::parse("a.B")->same_as(*Name::parse("A.b")));
  EXPECT_FALSE(Name::parse("a.B")->same_as(*Name::parse("a.c")));
  EXPECT_FALSE(*Name::parse("a.B") == *Name::parse("a.b"));
}

}  // namespace
}  // namespace weft::dns
