#include "agent/sandbox/port_forward.h"

#include <gtest/gtest.h>

namespace weft::sandbox {
namespace {

TEST(PortForward, WhatPeopleWrite) {
  const auto both = parse_forward("5001:80");
  ASSERT_TRUE(both);
  EXPECT_EQ(both->local, 5001);
  EXPECT_EQ(both->remote, 80);
  EXPECT_EQ(parse_forward("80")->local, 80);
  EXPECT_EQ(parse_forward(":80")->local, 0);
  EXPECT_EQ(parse_forward(":80")->remote, 80);
}

TEST(PortForward, Malformed) {
  for (const char* text :
       {"", ":", "80:", "0", "65536", "a:80", "80:a", "1:2:3", "-1", "80 ", "+80"}) {
    EXPECT_FALSE(parse_forward(text)) << text;
  }
}

}  // namespace
}  // namespace weft::sandbox
