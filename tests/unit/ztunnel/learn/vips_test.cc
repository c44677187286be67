#include "ztunnel/learn/vips.h"

#include "ztunnel/learn/state.h"

#include <gtest/gtest.h>

namespace weft::learn {
namespace {

std::shared_ptr<const Service> service(const std::string& ns, const std::string& hostname,
                                       bool canonical = false, bool hidden = false) {
  auto made = std::make_shared<Service>();
  made->ns = ns;
  made->hostname = hostname;
  made->canonical = canonical;
  made->only_own_namespace = hidden;
  return made;
}

const IpAddress kIp = IpAddress::v4(0x0a600007);

TEST(VipTableTest, TheClientsNamespaceThenWhatIsCanonicalThenTheFirst) {
  VipTable table;
  const Cidr whole = *Cidr::make(kIp, 32);
  const auto b = service("b", "host");
  const auto c = service("c", "host");
  const auto z = service("z", "host", true);
  table.add(whole, c);
  table.add(whole, b);
  EXPECT_EQ(table.exact(kIp, "elsewhere"), b);
  table.add(whole, z);
  EXPECT_EQ(table.exact(kIp, "elsewhere"), z);
  EXPECT_EQ(table.exact(kIp, "c"), c);
  table.remove(whole, z);
  table.remove(whole, z);
  EXPECT_EQ(table.exact(kIp, "elsewhere"), b);
  table.remove(whole, b);
  table.remove(whole, c);
  EXPECT_EQ(table.exact(kIp, "c"), nullptr);
  EXPECT_TRUE(table.empty());
}

TEST(VipTableTest, WhatIsHiddenIsSeenInItsOwnNamespaceOnly) {
  VipTable table;
  table.add(*Cidr::make(kIp, 32), service("shop", "secret", true, true));
  EXPECT_NE(table.exact(kIp, "shop"), nullptr);
  EXPECT_EQ(table.exact(kIp, "bank"), nullptr);
}

TEST(VipTableTest, TheLongestRangeThatIsSeenWins) {
  VipTable table;
  const auto wide = service("a", "wide");
  const auto narrow = service("b", "narrow", false, true);
  const auto six = service("a", "six");
  table.add(*Cidr::parse("10.0.0.0/8"), wide);
  table.add(*Cidr::parse("10.96.0.0/16"), narrow);
  table.add(*Cidr::parse("::/0"), six);
  EXPECT_EQ(table.in_range(kIp, "b"), narrow);
  EXPECT_EQ(table.in_range(kIp, "a"), wide);
  EXPECT_EQ(table.in_range(IpAddress::v4(0x0b000001), "a"), nullptr);
  EXPECT_EQ(table.in_range(*IpAddress::parse("fd00::1"), "a"), six);
  EXPECT_EQ(table.exact(kIp, "b"), nullptr);
  table.remove(*Cidr::parse("10.96.0.0/16"), narrow);
  EXPECT_EQ(table.in_range(kIp, "b"), wide);
  table.remove(*Cidr::parse("10.0.0.0/8"), wide);
  EXPECT_EQ(table.in_range(kIp, "b"), nullptr);
}

}  // namespace
}  // namespace weft::learn
