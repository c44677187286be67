#include "ztunnel/waypoint/tcp.h"

#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include <map>
#include <string>

namespace weft::waypoint {
namespace {

weft::route::TcpRoute route(const std::string& text) {
  weft::route::TcpRoute made;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &made)) << text;
  return made;
}

std::string found(const std::vector<weft::route::TcpRoute>& routes, const char* ip,
                  const char* host = "db.shop.svc.cluster.local") {
  const auto* one = find_route(routes, *IpAddress::parse(ip), host);
  return one == nullptr ? "none" : one->name();
}

TEST(TcpRoutes, TheFirstThatMatchesDecides) {
  const std::vector<weft::route::TcpRoute> routes{
      route("name: 'cidr' matches { destination_cidrs: '10.96.0.0/16' sni: 'other.example' }"),
      route("name: 'net' matches { destination_cidrs: '10.96.0.0/24' }"),
      route("name: 'sni' matches { sni: '*.svc.cluster.local' }")};
  EXPECT_EQ(found(routes, "10.96.0.7"), "net");
  EXPECT_EQ(found(routes, "10.97.0.7"), "sni");
  EXPECT_EQ(found(routes, "10.97.0.7", "svc.cluster.local"), "none");
  EXPECT_EQ(found({route("name: 'any'")}, "10.97.0.7"), "any");
}

TEST(TcpRoutes, DestinationsByTheirWeights) {
  const auto one = route(
      "forward { destinations { weight: 1 destination { hostname: 'a' } } destinations { weight: 3 "
      "destination { hostname: 'b' } } }");
  std::map<std::string, int> counts;
  for (uint64_t random = 0; random < 400; ++random) {
    ++counts[choose(one.forward(), random)->hostname()];
  }
  EXPECT_EQ(counts, (std::map<std::string, int>{{"a", 100}, {"b", 300}}));
  EXPECT_EQ(choose(weft::route::Forward(), 7), nullptr);
}

// Plain bytes never go where TLS was asked for.
TEST(Traffic, WhatIsNotDoneYetIsRefused) {
  weft::route::Traffic traffic;
  EXPECT_TRUE(check_honoured(traffic));
  traffic.set_proxy_protocol(2);
  EXPECT_EQ(check_honoured(traffic).error().code, Code::kUnsupported);
  traffic.clear_proxy_protocol();
  traffic.mutable_tls()->set_mode(weft::route::Tls::SIMPLE);
  const auto refused = check_honoured(traffic);
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().message.find("trafficPolicy.tls"), std::string::npos);
}

}  // namespace
}  // namespace weft::waypoint
