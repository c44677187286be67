#include "ztunnel/node/route.h"

#include "ztunnel/learn/state_data.h"

#include <gtest/gtest.h>

#include <array>
#include <map>

namespace weft::node {
namespace {

using learn::Endpoint;
using learn::Service;
using learn::State;
using learn::Workload;

const SocketAddress kVip{IpAddress::v4(0x0a600007), 80};

std::shared_ptr<Workload> workload(const std::string& name, uint32_t ip) {
  auto made = std::make_shared<Workload>();
  made->uid = "Kubernetes//Pod/shop/" + name;
  made->name = name;
  made->ns = "shop";
  made->addresses = {IpAddress::v4(ip)};
  made->hbone = true;
  return made;
}

class RouteTest : public ::testing::Test {
 protected:
  RouteTest() {
    service_->name = "users";
    service_->ns = "shop";
    service_->hostname = "users.shop.svc.cluster.local";
    service_->vips = {kVip.ip};
  }

  void add(std::shared_ptr<Workload> endpoint, uint16_t target_port) {
    data_->workloads_by_ip[endpoint->addresses.front()] = endpoint;
    service_->endpoints.push_back(Endpoint{endpoint, {{80, target_port}}});
  }
  Route route(const SocketAddress& to, uint64_t random = 0) {
    data_->services_by_vip[kVip.ip] = service_;
    choice_.random = random;
    return choose_route(State(data_), to, choice_);
  }
  std::string reason(const Route& route) {
    const auto* nowhere = std::get_if<ToNowhere>(&route.destination);
    return nowhere == nullptr ? "" : nowhere->reason;
  }

  Choice choice_;
  std::shared_ptr<State::Data> data_ = std::make_shared<State::Data>();
  std::shared_ptr<Service> service_ = std::make_shared<Service>();
};

TEST_F(RouteTest, VipGoesToAnEndpointAtItsTargetPort) {
  add(workload("users-1", 0x0af40105), 5001);
  const Route chosen = route(kVip);
  const auto* to = std::get_if<ToWorkload>(&chosen.destination);
  ASSERT_NE(to, nullptr);
  EXPECT_EQ(to->address.to_string(), "10.244.1.5:5001");
  EXPECT_EQ(to->workload->name, "users-1");
  EXPECT_EQ(chosen.service->hostname, "users.shop.svc.cluster.local");
}

TEST_F(RouteTest, EndpointsAreChosenInProportionToCapacity) {
  add(workload("one", 0x0af40101), 5001);
  auto three = workload("three", 0x0af40102);
  three->capacity = 3;
  add(three, 5001);
  std::map<std::string, int> chosen;
  for (uint64_t random = 0; random < 400; ++random) {
    const Route to = route(kVip, random);
    ++chosen[std::get<ToWorkload>(to.destination).workload->name];
  }
  EXPECT_EQ(chosen["one"], 100);
  EXPECT_EQ(chosen["three"], 300);
}

TEST_F(RouteTest, UnhealthyEndpointsAndThoseWithoutThePortAreNotChosen) {
  auto sick = workload("sick", 0x0af40101);
  sick->healthy = false;
  add(sick, 5001);
  auto other_port = workload("other", 0x0af40102);
  service_->endpoints.push_back(Endpoint{other_port, {{443, 8443}}});
  add(workload("well", 0x0af40103), 5001);
  for (uint64_t random = 0; random < 16; ++random) {
    EXPECT_EQ(std::get<ToWorkload>(route(kVip, random).destination).workload->name, "well");
  }
}

TEST_F(RouteTest, ServiceWithoutAReadyEndpointIsRefusedByName) {
  EXPECT_EQ(reason(route(kVip)),
            "no healthy upstream: service shop/users.shop.svc.cluster.local has no ready endpoint "
            "for port 80");
}

TEST_F(RouteTest, WhatWasTriedIsNotTriedAgain) {
  add(workload("one", 0x0af40101), 5001);
  add(workload("two", 0x0af40102), 5001);
  const std::array<SocketAddress, 2> tried{SocketAddress{IpAddress::v4(0x0af40101), 5001},
                                           SocketAddress{IpAddress::v4(0x0af40102), 5001}};
  choice_.tried = std::span(tried).first(1);
  for (uint64_t random = 0; random < 16; ++random) {
    EXPECT_EQ(std::get<ToWorkload>(route(kVip, random).destination).workload->name, "two");
  }
  choice_.tried = tried;
  EXPECT_NE(reason(route(kVip)), "");
}

TEST_F(RouteTest, EndpointsThatFailedLatelyAreAvoidedUnlessAllDid) {
  add(workload("one", 0x0af40101), 5001);
  add(workload("two", 0x0af40102), 5001);
  EndpointMemory memory;
  choice_.memory = &memory;
  for (int i = 0; i < 5; ++i) memory.failed({IpAddress::v4(0x0af40101), 5001}, choice_.now);
  for (uint64_t random = 0; random < 16; ++random) {
    EXPECT_EQ(std::get<ToWorkload>(route(kVip, random).destination).workload->name, "two");
  }
  for (int i = 0; i < 5; ++i) memory.failed({IpAddress::v4(0x0af40102), 5001}, choice_.now);
  EXPECT_EQ(reason(route(kVip)), "");
}

TEST_F(RouteTest, WaypointIsNeverBypassed) {
  add(workload("users-1", 0x0af40105), 5001);
  service_->has_waypoint = true;
  EXPECT_NE(reason(route(kVip)).find("has a waypoint"), std::string::npos);

  auto direct = workload("direct", 0x0af40107);
  direct->has_waypoint = true;
  data_->workloads_by_ip[direct->addresses.front()] = direct;
  EXPECT_NE(reason(route({IpAddress::v4(0x0af40107), 80})).find("has a waypoint"),
            std::string::npos);
}

TEST_F(RouteTest, WorkloadAddressKeepsItsPort) {
  add(workload("users-1", 0x0af40105), 5001);
  const Route chosen = route({IpAddress::v4(0x0af40105), 9999});
  EXPECT_EQ(std::get<ToWorkload>(chosen.destination).address.to_string(), "10.244.1.5:9999");
  EXPECT_EQ(chosen.service, nullptr);
}

TEST_F(RouteTest, AnythingElseGoesWhereItWanted) {
  const Route chosen = route({IpAddress::v4(0x08080808), 443});
  EXPECT_TRUE(std::holds_alternative<ToOriginal>(chosen.destination));
}

}  // namespace
}  // namespace weft::node
