#include "ztunnel/waypoint/target.h"

#include "tests/unit/ztunnel/learn/builders.h"
#include "ztunnel/waypoint/config_builder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace weft::waypoint {
namespace {

using learn::testing::add_pod;
using learn::testing::add_service;
using learn::testing::addresses;
using ::testing::HasSubstr;
using ::testing::SizeIs;

constexpr const char* kOurs =
    "waypoint { hostname { namespace: 'shop' hostname: 'gate.shop.svc.cluster.local' } "
    "hbone_mtls_port: 15008 }";

std::string resource(const std::string& host, const std::string& waypoint = "shop/gate") {
  return waypoint + "/shop/" + host + ".shop.svc.cluster.local";
}

learn::DeltaResponse of(std::string_view type) {
  learn::DeltaResponse response;
  response.set_type_url(std::string(type));
  return response;
}

weft::route::Routes routes(const std::string& host, const std::string& more = "") {
  return learn::testing::message<weft::route::Routes>("namespace: 'shop' hostname: '" + host +
                                                      ".shop.svc.cluster.local' " + more);
}

class Target : public ::testing::Test {
 protected:
  Target() {
    self_.ns = "shop";
    self_.gateway = "gate";
    self_.service = "shop/gate.shop.svc.cluster.local";
    auto response = addresses();
    add_service(response, "gate", 9, "ports { service_port: 15008 }");
    add_service(response, "web", 1, std::string("ports { service_port: 80 } ") + kOurs);
    add_service(response, "other", 2, "ports { service_port: 80 }");
    add_service(response, "untold", 3, std::string("ports { service_port: 80 } ") + kOurs);
    add_pod(response, "solo", 7, kOurs);
    add_pod(response, "free", 8);
    EXPECT_THAT(state_.apply(response), SizeIs(0));
    auto told = of(kRoutesType);
    learn::testing::add(told, resource("web"), "1",
                        routes("web", "ports { port: 80 protocol: HTTP1 }"));
    EXPECT_THAT(builder_.apply(told), SizeIs(0));
    EXPECT_THAT(builder_.apply(of(kPolicyType)), SizeIs(0));
    EXPECT_THAT(builder_.apply(of(kTelemetryType)), SizeIs(0));
  }

  std::expected<Client, ConnectRefusal> find(const std::string& authority) {
    return find_target(state_.publish(), config_, self_, {"cluster.local", "shop", "c"}, authority);
  }

  Self self_;
  learn::StateBuilder state_{"Kubernetes"};
  std::shared_ptr<const Config> config_;
  ConfigBuilder builder_{"shop/gate", [this](auto config) { config_ = std::move(config); }};
};

TEST_F(Target, AServiceByItsAddressOrItsName) {
  for (const char* authority : {"10.96.0.1:80", "web.shop.svc.cluster.local:80"}) {
    const auto found = find(authority);
    ASSERT_TRUE(found) << found.error().error.message;
    EXPECT_EQ(found->service->name, "web");
    EXPECT_EQ(found->port, 80);
    EXPECT_EQ(found->protocol, weft::route::Port::HTTP1);
    EXPECT_EQ(found->routes->key, "shop/web.shop.svc.cluster.local");
  }
  EXPECT_EQ(find("10.96.0.1:81")->protocol, weft::route::Port::SNIFF);
}

TEST_F(Target, AWorkloadOfOurs) {
  const auto found = find("10.0.0.7:9000");
  ASSERT_TRUE(found) << found.error().error.message;
  EXPECT_EQ(found->target->name, "solo");
  EXPECT_EQ(found->original.to_string(), "10.0.0.7:9000");
}

// Endpoints trust our identity: nobody may borrow it for a destination of his own choice.
TEST_F(Target, NothingElseIsReachedThroughUs) {
  for (const char* authority : {"10.96.0.2:80", "10.0.0.8:80", "other.shop.svc.cluster.local:80"}) {
    const auto found = find(authority);
    ASSERT_FALSE(found) << authority;
    EXPECT_EQ(found.error().status, 400);
    EXPECT_THAT(found.error().error.message, HasSubstr("does not use the waypoint shop/gate"));
  }
  for (const char* authority : {"8.8.8.8:53", "evil.example:443"}) {
    ASSERT_FALSE(find(authority));
    EXPECT_THAT(find(authority).error().error.message, HasSubstr("nothing of the mesh"));
  }
}

TEST_F(Target, WithoutAWordOfControlItIsRefused) {
  const auto found = find("10.96.0.3:80");
  ASSERT_FALSE(found);
  EXPECT_EQ(found.error().status, 503);
}

TEST(ConfigBuilder, PublishesWhenEveryTypeHasCome) {
  int published = 0;
  ConfigBuilder builder("shop/gate", [&](auto) { ++published; });
  builder.apply(of(kRoutesType));
  builder.apply(of(kTelemetryType));
  EXPECT_FALSE(builder.is_complete());
  EXPECT_EQ(published, 0);
  builder.apply(of(kPolicyType));
  EXPECT_TRUE(builder.is_complete());
  EXPECT_EQ(published, 1);
}

TEST(ConfigBuilder, OthersResourcesAreRefusedByName) {
  std::shared_ptr<const Config> config;
  ConfigBuilder builder("shop/gate", [&](auto now) { config = std::move(now); });
  builder.apply(of(kPolicyType));
  builder.apply(of(kTelemetryType));
  auto response = of(kRoutesType);
  learn::testing::add(response, resource("web", "bank/gate"), "1", routes("web"));
  learn::testing::add(response, resource("web"), "1", routes("other"));
  const auto rejections = builder.apply(response);
  ASSERT_THAT(rejections, SizeIs(2));
  EXPECT_THAT(rejections[0].error, HasSubstr("another waypoint's"));
  EXPECT_THAT(rejections[1].error, HasSubstr("differs from its content's"));
}

TEST(ConfigBuilder, WhatNeverWasGoodIsRefusedAndWhatWasStays) {
  std::shared_ptr<const Config> config;
  ConfigBuilder builder("shop/gate", [&](auto now) { config = std::move(now); });
  builder.apply(of(kPolicyType));
  builder.apply(of(kTelemetryType));
  auto bad = of(kRoutesType);
  const char* kBadRegex = "ports { port: 80 http { matches { path { regex: '(' } } forward {} } }";
  learn::testing::add(bad, resource("web"), "1", routes("web", kBadRegex));
  EXPECT_THAT(builder.apply(bad), SizeIs(1));
  const std::string key = "shop/web.shop.svc.cluster.local";
  EXPECT_THAT(config->services.at(key)->refused, HasSubstr("cannot be read"));
  EXPECT_EQ(builder.versions(kRoutesType).at(resource("web")), "");

  auto good = of(kRoutesType);
  learn::testing::add(good, resource("web"), "2", routes("web"));
  EXPECT_THAT(builder.apply(good), SizeIs(0));
  EXPECT_EQ(config->services.at(key)->refused, "");
  EXPECT_THAT(builder.apply(bad), SizeIs(1));
  EXPECT_EQ(config->services.at(key)->refused, "") << "the last good one stays";

  auto removed = of(kRoutesType);
  removed.add_removed_resources(resource("web"));
  builder.apply(removed);
  EXPECT_FALSE(config->services.contains(key));
}

}  // namespace
}  // namespace weft::waypoint
