#include "ztunnel/hbone/headers.h"

#include <gtest/gtest.h>

namespace weft::hbone {
namespace {

using http::Header;

TEST(HboneHeaders, WellFormedAuthorities) {
  for (const std::string& good :
       {std::string("10.0.0.1:80"), std::string("[fd00::1]:65535"), std::string("[::]:1"),
        std::string("web.default.svc.cluster.local:8080"), std::string("a:1"),
        std::string("a-b_c.D:443"), std::string(253, 'x') + ":1"}) {
    EXPECT_TRUE(check_authority(good).has_value()) << good;
  }
}

TEST(HboneHeaders, MalformedAuthorities) {
  for (const std::string& bad : {std::string(""),
                                 std::string(":"),
                                 std::string(":80"),
                                 std::string("10.0.0.1"),
                                 std::string("10.0.0.1:"),
                                 std::string("10.0.0.1:0"),
                                 std::string("10.0.0.1:65536"),
                                 std::string("10.0.0.1:-1"),
                                 std::string("10.0.0.1:+80"),
                                 std::string("10.0.0.1:80 "),
                                 std::string("10.0.0.1: 80"),
                                 std::string("10.0.0.1:0x50"),
                                 std::string("10.0.0.1:000080"),
                                 std::string("fd00::1:80"),
                                 std::string("[fd00::1]"),
                                 std::string("[fd00::1]80"),
                                 std::string("[fd00::1:80"),
                                 std::string("[]:80"),
                                 std::string("[10.0.0.1]:80"),
                                 std::string("[fd00::1%eth0]:80"),
                                 std::string("256.0.0.1:80"),
                                 std::string("1.2.3:80"),
                                 std::string("1.2.3.4.5:80"),
                                 std::string("a..b:80"),
                                 std::string(".a:80"),
                                 std::string("a.:80"),
                                 std::string("a b:80"),
                                 std::string("a/b:80"),
                                 std::string("user@a:80"),
                                 std::string("http://a:80"),
                                 std::string("a\n:80"),
                                 std::string("a\0b:80", 6),
                                 std::string("\xc3\xa4:80"),
                                 std::string(254, 'x') + ":1",
                                 std::string("a:80:90")}) {
    const Result<void> checked = check_authority(bad);
    ASSERT_FALSE(checked.has_value()) << bad;
    EXPECT_EQ(checked.error().code, Code::kInvalid);
  }
}

TEST(HboneHeaders, Traceparents) {
  const std::string good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
  EXPECT_TRUE(is_traceparent(good));
  for (size_t i = 0; i < good.size(); ++i) {
    std::string bad = good;
    bad[i] = 'X';
    EXPECT_FALSE(is_traceparent(bad)) << bad;
    EXPECT_FALSE(is_traceparent(good.substr(0, i)));
  }
  EXPECT_FALSE(is_traceparent(good + "-"));
  EXPECT_FALSE(is_traceparent("00-" + std::string(32, '0') + "-b7ad6b7169203331-01"));
  EXPECT_FALSE(
      is_traceparent("00-0af7651916cd43dd8448eb211c80319c-" + std::string(16, '0') + "-01"));
  EXPECT_FALSE(is_traceparent("00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01"));
}

TEST(HboneHeaders, TheClientOfAForwardedField) {
  EXPECT_EQ(forwarded_for("for=\"10.0.0.1:5\";host=web"), SocketAddress::parse("10.0.0.1:5"));
  EXPECT_EQ(forwarded_for("host=web;For=\"[fd00::1]:65535\""),
            SocketAddress::parse("[fd00::1]:65535"));
  for (const char* none : {"", "for=", "for=x", "for=10.0.0.1", "for=\"10.0.0.1:\"", "host=web",
                           "for=\"10.0.0.1:65536\"", "for=unknown", "host=a, for=\"10.0.0.1:5\""}) {
    EXPECT_EQ(forwarded_for(none), std::nullopt) << none;
  }
}

TEST(HboneHeaders, TheHostOfAForwardedField) {
  EXPECT_EQ(forwarded_host("for=\"10.0.0.1:5\";host=web.ns.svc.cluster.local"),
            "web.ns.svc.cluster.local");
  EXPECT_EQ(forwarded_host("host=\"web\";for=x"), "web");
  EXPECT_EQ(forwarded_host("for=x; HOST=web"), "web");
  EXPECT_EQ(forwarded_host("for=x;host=web, for=y;host=other"), "web");
  EXPECT_EQ(forwarded_host("for=x"), "");
  EXPECT_EQ(forwarded_host("for=x, host=web"), "");  // of another hop
  EXPECT_EQ(forwarded_host("nothost=web"), "");
  EXPECT_EQ(forwarded_host("host="), "");
  EXPECT_EQ(forwarded_host("host=\""), "");
  EXPECT_EQ(forwarded_host("host=\"a b\""), "");
  EXPECT_EQ(forwarded_host("host=a\x01"), "");
  EXPECT_EQ(forwarded_host(";;;=;"), "");
  EXPECT_EQ(forwarded_host(""), "");
}

TEST(HboneHeaders, ARequestSaysExactlyWhatItHas) {
  const std::vector<Header> bare = to_headers({.authority = "10.0.0.1:80"});
  ASSERT_EQ(bare.size(), 2U);
  EXPECT_EQ(bare[0].name, ":method");
  EXPECT_EQ(bare[0].value, "CONNECT");
  EXPECT_EQ(bare[1].name, ":authority");
  EXPECT_EQ(bare[1].value, "10.0.0.1:80");

  const ConnectRequest full{"10.0.0.1:80", "k8s.namespace.name=a", "for=\"1.2.3.4:5\"",
                            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"};
  const Result<ConnectRequest> back = from_headers(to_headers(full));
  ASSERT_TRUE(back.has_value());
  EXPECT_EQ(back->authority, full.authority);
  EXPECT_EQ(back->baggage, full.baggage);
  EXPECT_EQ(back->forwarded, full.forwarded);
  EXPECT_EQ(back->traceparent, full.traceparent);
}

TEST(HboneHeaders, LabelsThatAreNotPlainComeOutEmpty) {
  const auto labels = [](std::string baggage, std::string traceparent) {
    return from_headers({{":method", "CONNECT"},
                         {":authority", "a:1"},
                         {"baggage", std::move(baggage)},
                         {"traceparent", std::move(traceparent)}});
  };
  EXPECT_EQ(labels("a=b", "")->baggage, "a=b");
  EXPECT_EQ(labels(std::string(kLabelBytesMax + 1, 'x'), "")->baggage, "");
  EXPECT_EQ(labels("a=\xc3\xa4", "")->baggage, "");
  EXPECT_EQ(labels("a=b", "00-x")->traceparent, "");
}

TEST(HboneHeaders, OtherMethodsAndNoAuthorityAreMalformed) {
  EXPECT_FALSE(from_headers({{":method", "GET"}, {":authority", "a:1"}}).has_value());
  EXPECT_FALSE(from_headers({{":method", "connect"}, {":authority", "a:1"}}).has_value());
  EXPECT_FALSE(from_headers({{":authority", "a:1"}}).has_value());
  EXPECT_FALSE(from_headers({{":method", "CONNECT"}}).has_value());
  EXPECT_FALSE(from_headers({}).has_value());
}

TEST(HboneHeaders, Statuses) {
  EXPECT_EQ(status_of({{":status", "200"}}), 200);
  EXPECT_EQ(status_of({{":status", "401"}}), 401);
  for (const char* bad : {"", "20", "2000", "2x0", "-20", "099", "600"}) {
    EXPECT_EQ(status_of({{":status", bad}}), 0) << bad;
  }
  EXPECT_EQ(status_of({}), 0);
}

}  // namespace
}  // namespace weft::hbone
