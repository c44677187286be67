#include "ztunnel/node/route.h"

#include "ztunnel/learn/state_data.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <map>

namespace weft::node {
namespace {

using learn::Balancing;
using learn::Endpoint;
using learn::Scope;
using learn::Service;
using learn::State;
using learn::Workload;
using ::testing::HasSubstr;

const SocketAddress kVip{IpAddress::v4(0x0a600007), 80};
const IpAddress kWaypointVip = IpAddress::v4(0x0a600099);
const learn::Waypoint kWaypoint{
    .service = "shop/gate.shop.svc.cluster.local", .address = {}, .port = 15008};

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
    service_->ports = {{80, 0}};
    client_->node = "node-a";
    client_->locality = {"europe", "east", "rack-1"};
  }

  void add(std::shared_ptr<Workload> endpoint, uint16_t target_port) {
    if (!endpoint->addresses.empty()) {
      data_->workloads_by_ip[endpoint->addresses.front()] = endpoint;
    }
    data_->workloads[endpoint->uid] = endpoint;
    service_->endpoints.push_back(Endpoint{endpoint, {{80, target_port}}});
  }
  // An endpoint that stands somewhere.
  void add_at(const std::string& name, const std::string& zone, const std::string& node = "n") {
    auto endpoint = workload(name, 0x0af40200 + static_cast<uint32_t>(data_->workloads.size()));
    endpoint->locality = {"europe", zone, ""};
    endpoint->node = node;
    add(endpoint, 5001);
  }
  void settle() {
    auto service = std::make_shared<Service>(*service_);
    service->candidates = learn::candidates_of(*service);
    data_->services[service->ns + "/" + service->hostname] = service;
    data_->vips = {};
    for (const IpAddress& vip : service->vips) data_->vips.add(*Cidr::make(vip, 32), service);
    for (const Cidr& range : service->vip_ranges) data_->vips.add(range, service);
    if (waypoint_now_) data_->vips.add(*Cidr::make(kWaypointVip, 32), waypoint_now_);
  }
  std::shared_ptr<Workload> add_waypoint(const std::string& name, uint32_t ip) {
    auto pod = workload(name, ip);
    data_->workloads[pod->uid] = pod;
    waypoint_.endpoints.push_back(Endpoint{pod, {{15008, 15008}}});
    return pod;
  }
  void settle_waypoint() {
    waypoint_.ports = {{15008, 15008}};
    auto service = std::make_shared<Service>(waypoint_);
    service->ns = "shop";
    service->hostname = "gate.shop.svc.cluster.local";
    service->candidates = learn::candidates_of(*service);
    data_->services[kWaypoint.service] = service;
    waypoint_now_ = service;
  }
  Route route(const SocketAddress& to, uint64_t random = 0) {
    settle();
    choice_.random = random;
    return choose_route(State(data_), to, choice_);
  }
  std::string reason(const Route& route) {
    const auto* nowhere = std::get_if<ToNowhere>(&route.destination);
    return nowhere == nullptr ? "" : nowhere->reason;
  }
  std::string name(const Route& route) {
    const auto* to = std::get_if<ToWorkload>(&route.destination);
    return to == nullptr ? "(" + reason(route) + ")" : to->workload->name;
  }
  // How often each endpoint is chosen.
  std::map<std::string, int> chosen(int times = 64) {
    settle();
    std::map<std::string, int> counts;
    const State state(data_);
    for (int random = 0; random < times; ++random) {
      choice_.random = static_cast<uint64_t>(random);
      ++counts[name(choose_route(state, kVip, choice_))];
    }
    return counts;
  }
  std::set<std::string> used() {
    std::set<std::string> names;
    for (const auto& [name, count] : chosen()) names.insert(name);
    return names;
  }
  using Names = std::set<std::string>;

  std::shared_ptr<Workload> client_ = workload("client", 0x0af40101);
  Choice choice_{.source = *client_, .client = IpAddress::v4(0x0af40101)};
  std::shared_ptr<State::Data> data_ = std::make_shared<State::Data>();
  std::shared_ptr<Service> service_ = std::make_shared<Service>();
  Service waypoint_;
  std::shared_ptr<const Service> waypoint_now_;
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
  auto none = workload("none", 0x0af40103);
  none->capacity = 0;
  add(none, 5001);
  const auto counts = chosen(400);
  EXPECT_EQ(counts, (std::map<std::string, int>{{"one", 100}, {"three", 300}}));
}

TEST_F(RouteTest, UnhealthyEndpointsAndThoseWithoutThePortAreNotChosen) {
  auto sick = workload("sick", 0x0af40101);
  sick->healthy = false;
  add(sick, 5001);
  auto other_port = workload("other", 0x0af40102);
  service_->endpoints.push_back(Endpoint{other_port, {{443, 8443}}});
  add(workload("well", 0x0af40103), 5001);
  EXPECT_EQ(used(), Names{"well"});
  service_->balancing.unready_too = true;
  EXPECT_EQ(used(), (Names{"well", "sick"}));
}

TEST_F(RouteTest, WhatIsEndingAndServesIsForWhenNothingElseDoes) {
  auto ending = workload("ending", 0x0af40101);
  ending->healthy = false;
  ending->serving_while_terminating = true;
  add(ending, 5001);
  EXPECT_EQ(used(), Names{"ending"});
  auto other = workload("other", 0x0af40102);
  add(other, 5001);
  EXPECT_EQ(used(), Names{"other"});
  const std::array<const Workload*, 1> tried{other.get()};
  choice_.tried = tried;
  EXPECT_EQ(used(), Names{"ending"});
}

TEST_F(RouteTest, ServiceWithoutAReadyEndpointIsRefusedByName) {
  EXPECT_EQ(reason(route(kVip)),
            "no healthy upstream: service shop/users.shop.svc.cluster.local has no ready endpoint "
            "for port 80");
  EXPECT_THAT(reason(route({kVip.ip, 81})), HasSubstr("has no port 81"));
}

TEST_F(RouteTest, WhatWasTriedIsNotTriedAgain) {
  const auto one = workload("one", 0x0af40101);
  const auto two = workload("two", 0x0af40102);
  add(one, 5001);
  add(two, 5001);
  const std::array<const Workload*, 2> tried{one.get(), two.get()};
  choice_.tried = std::span(tried).first(1);
  EXPECT_EQ(used(), Names{"two"});
  choice_.tried = tried;
  EXPECT_NE(reason(route(kVip)), "");
}

TEST_F(RouteTest, EndpointsThatFailedLatelyAreAvoidedUnlessAllDid) {
  add(workload("one", 0x0af40101), 5001);
  add(workload("two", 0x0af40102), 5001);
  role::EndpointMemory memory;
  choice_.memory = &memory;
  for (int i = 0; i < 5; ++i) memory.failed({IpAddress::v4(0x0af40101), 5001}, choice_.now);
  EXPECT_EQ(used(), Names{"two"});
  for (int i = 0; i < 5; ++i) memory.failed({IpAddress::v4(0x0af40102), 5001}, choice_.now);
  EXPECT_EQ(used(), (Names{"one", "two"}));
}

// Among many that fail the few that do not are found, and evenly.
TEST_F(RouteTest, AFewGoodEndpointsAmongManyBadOnesAreFound) {
  role::EndpointMemory memory;
  choice_.memory = &memory;
  for (uint32_t i = 0; i < 200; ++i) {
    add(workload("w" + std::to_string(i), 0x0af40000 + i), 5001);
    if (i == 7 || i == 150) continue;
    for (int n = 0; n < 3; ++n) memory.failed({IpAddress::v4(0x0af40000 + i), 5001}, choice_.now);
  }
  EXPECT_EQ(used(), (Names{"w7", "w150"}));
}

TEST_F(RouteTest, FailoverPrefersWhoSharesTheMostScopes) {
  service_->balancing = {.mode = Balancing::Mode::kFailover,
                         .scopes = {Scope::kRegion, Scope::kZone, Scope::kNode}};
  add_at("far", "west");
  EXPECT_EQ(used(), Names{"far"});
  add_at("zone-1", "east");
  add_at("zone-2", "east", "other");
  EXPECT_EQ(used(), (Names{"zone-1", "zone-2"}));
  add_at("here", "east", "node-a");
  EXPECT_EQ(used(), Names{"here"});
  // The order of scopes counts: a shared node in another zone is no more than the region.
  add_at("odd", "west", "node-a");
  EXPECT_EQ(used(), Names{"here"});
  // One that cannot be connected to is replaced by the next best.
  const std::array<const Workload*, 1> tried{
      data_->workloads.at("Kubernetes//Pod/shop/here").get()};
  choice_.tried = tried;
  EXPECT_EQ(used(), (Names{"zone-1", "zone-2"}));
}

TEST_F(RouteTest, StrictNeverLeavesTheScope) {
  service_->balancing = {.mode = Balancing::Mode::kStrict, .scopes = {Scope::kNode}};
  add_at("far", "east", "node-b");
  EXPECT_THAT(reason(route(kVip)), HasSubstr("keeps traffic near its client"));
  add_at("here", "west", "node-a");
  EXPECT_EQ(used(), Names{"here"});
  role::EndpointMemory memory;
  choice_.memory = &memory;
  const auto& here = data_->workloads.at("Kubernetes//Pod/shop/here");
  for (int i = 0; i < 5; ++i) memory.failed({here->addresses[0], 5001}, choice_.now);
  EXPECT_EQ(used(), Names{"here"}) << "better one that failed lately than one elsewhere";
}

TEST_F(RouteTest, AffinityKeepsAClientWhoeverElseComesOrGoes) {
  service_->balancing.client_affinity = true;
  for (uint32_t i = 0; i < 20; ++i) add(workload("w" + std::to_string(i), 0x0af40200 + i), 5001);
  std::map<uint32_t, std::string> before;
  std::map<std::string, int> load;
  for (uint32_t client = 0; client < 400; ++client) {
    choice_.client = IpAddress::v4(0x0af40400 + client);
    EXPECT_EQ(used().size(), 1U) << "whatever the random number";
    ++load[before[client] = name(route(kVip))];
  }
  EXPECT_EQ(load.size(), 20U);
  service_->endpoints.erase(service_->endpoints.begin() + 3);
  add(workload("late", 0x0af40300), 5001);
  size_t moved = 0;
  for (uint32_t client = 0; client < 400; ++client) {
    choice_.client = IpAddress::v4(0x0af40400 + client);
    const std::string now = name(route(kVip));
    if (now == before[client]) continue;
    ++moved;
    EXPECT_TRUE(before[client] == "w3" || now == "late") << before[client] << " -> " << now;
  }
  EXPECT_LT(moved, 100U);
}

TEST_F(RouteTest, TheAskedFamilyIsPreferred) {
  const auto v6 = *IpAddress::parse("fd00::5");
  auto dual = workload("dual", 0x0af40105);
  dual->addresses.push_back(v6);
  add(dual, 5001);
  EXPECT_EQ(std::get<ToWorkload>(route(kVip).destination).address.ip, dual->addresses[0]);
  service_->families = learn::IpFamilies::kV6;
  EXPECT_EQ(std::get<ToWorkload>(route(kVip).destination).address.ip, v6);
}

TEST_F(RouteTest, AWorkloadKnownByNameOnlyIsToBeLookedUp) {
  auto named = workload("named", 1);
  named->addresses.clear();
  named->hostname = "example.org";
  add(named, 443);
  const Route to = route(kVip);
  EXPECT_EQ(std::get<ToWorkload>(to.destination).address, (SocketAddress{IpAddress(), 443}));
}

TEST_F(RouteTest, AnEndpointThatIsAPodOfTheMeshIsReachedAsThatPod) {
  auto written = workload("written", 0x0af40105);
  written->hbone = false;
  add(written, 5001);
  EXPECT_EQ(name(route(kVip)), "written");
  auto pod = workload("pod", 0x0af40105);
  data_->workloads_by_ip[pod->addresses[0]] = pod;
  EXPECT_EQ(name(route(kVip)), "pod");
  EXPECT_EQ(std::get<ToWorkload>(route(kVip).destination).address.port, 5001);
  pod->waypoints = {kWaypoint};
  EXPECT_THAT(reason(route(kVip)),
              HasSubstr("its waypoint shop/gate.shop.svc.cluster.local is not"));
}

TEST_F(RouteTest, AWaypointThatIsNotThereIsNeverBypassed) {
  add(workload("users-1", 0x0af40105), 5001);
  service_->waypoints = {kWaypoint};
  EXPECT_THAT(reason(route(kVip)), HasSubstr("is not known, and traffic does not go past it"));
  auto pod = add_waypoint("gate-1", 0x0af40301);
  pod->healthy = false;
  settle_waypoint();
  EXPECT_THAT(reason(route(kVip)), HasSubstr("has no ready pod, and traffic does not go past it"));

  auto direct = workload("direct", 0x0af40107);
  direct->waypoints = {kWaypoint};
  data_->workloads_by_ip[direct->addresses.front()] = direct;
  EXPECT_THAT(reason(route({IpAddress::v4(0x0af40107), 80})), HasSubstr("has no ready pod"));
}

TEST_F(RouteTest, ThroughTheWaypointWithTheAddressThatWasAskedFor) {
  add(workload("users-1", 0x0af40105), 5001);
  service_->waypoints = {kWaypoint};
  add_waypoint("gate-1", 0x0af40301);
  settle_waypoint();
  const Route chosen = route(kVip);
  const auto* to = std::get_if<ToWaypoint>(&chosen.destination);
  ASSERT_NE(to, nullptr) << reason(chosen);
  EXPECT_EQ(to->workload->name, "gate-1");
  EXPECT_EQ(to->address.to_string(), "10.244.3.1:15008");
  EXPECT_EQ(to->authority, "10.96.0.7:80");
  // By the Service's address instead of its name.
  service_->waypoints = {{.service = {}, .address = kWaypointVip, .port = 15008}};
  const Route by_address = route(kVip);
  EXPECT_TRUE(std::holds_alternative<ToWaypoint>(by_address.destination)) << reason(by_address);
}

TEST_F(RouteTest, AWaypointsOwnPodIsNotSentToIt) {
  add(workload("users-1", 0x0af40105), 5001);
  service_->waypoints = {kWaypoint};
  add_waypoint("gate-1", 0x0af40301);
  settle_waypoint();
  client_->services[kWaypoint.service] = {};
  EXPECT_EQ(name(route(kVip)), "users-1");
}

TEST_F(RouteTest, AWaypointInTrialGetsItsShare) {
  add(workload("users-1", 0x0af40105), 5001);
  service_->waypoints = {kWaypoint, kWaypoint};
  service_->waypoints[0].weight = 1;
  service_->waypoints[1].weight = 3;
  service_->waypoints[1].service = "shop/trial";  // is not there
  add_waypoint("gate-1", 0x0af40301);
  settle_waypoint();
  size_t there = 0;
  for (uint64_t random = 0; random < 400; ++random) {
    there += std::holds_alternative<ToWaypoint>(route(kVip, random).destination) ? 1 : 0;
  }
  EXPECT_EQ(there, 100U);
}

TEST_F(RouteTest, AWaypointWithoutHboneIsRefused) {
  add(workload("users-1", 0x0af40105), 5001);
  service_->waypoints = {kWaypoint};
  add_waypoint("gate-1", 0x0af40301)->hbone = false;
  settle_waypoint();
  EXPECT_THAT(reason(route(kVip)), HasSubstr("does not speak HBONE"));
}

TEST_F(RouteTest, OtherNetworksAreRefusedByName) {
  auto far = workload("far", 0x0af40105);
  far->network = "eu";
  far->other_network = true;
  add(far, 5001);
  EXPECT_THAT(reason(route(kVip)), HasSubstr("on the network \"eu\" only"));
  EXPECT_THAT(reason(route({IpAddress::v4(0x0af40105), 80})),
              HasSubstr("workload shop/far is on the network \"eu\""));
  add(workload("near", 0x0af40106), 5001);
  EXPECT_EQ(used(), Names{"near"});
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

TEST_F(RouteTest, RegistryOnlyRefusesWhatIsNotKnown) {
  client_->registry_only = true;
  const std::string why = reason(route({IpAddress::v4(0x08080808), 443}));
  EXPECT_THAT(why, HasSubstr("REGISTRY_ONLY"));
  EXPECT_THAT(why, HasSubstr("8.8.8.8:443"));
  EXPECT_THAT(why, HasSubstr("add a ServiceEntry"));
  add(workload("users-1", 0x0af40105), 5001);
  EXPECT_EQ(used(), Names{"users-1"});
  EXPECT_EQ(reason(route({IpAddress::v4(0x0af40105), 9999})), "") << "a workload is known";
}

TEST_F(RouteTest, PassthroughGoesWhereItWantedUnderTheServicesName) {
  service_->balancing.mode = Balancing::Mode::kPassthrough;
  service_->vips.clear();
  service_->vip_ranges = {*Cidr::parse("8.8.0.0/16")};
  const Route chosen = route({IpAddress::v4(0x08080808), 80});
  EXPECT_TRUE(std::holds_alternative<ToOriginal>(chosen.destination));
  ASSERT_NE(chosen.service, nullptr);
  EXPECT_EQ(route({IpAddress::v4(0x08090808), 80}).service, nullptr);
  EXPECT_EQ(reason(route({IpAddress::v4(0x08080808), 22})), "");
  client_->registry_only = true;
  EXPECT_EQ(reason(route({IpAddress::v4(0x08080808), 80})), "");
  EXPECT_THAT(reason(route({IpAddress::v4(0x08080808), 22})), HasSubstr("has no port 22"));
}

TEST_F(RouteTest, AWorkloadInsideARangeIsReachedAsItself) {
  service_->balancing.mode = Balancing::Mode::kPassthrough;
  service_->vips = {IpAddress::v4(0x0af40105)};
  service_->vip_ranges = {*Cidr::parse("10.244.0.0/16")};
  const auto pod = workload("pod", 0x0af40105);
  data_->workloads_by_ip[pod->addresses[0]] = pod;
  data_->workloads_by_ip[IpAddress::v4(0x0af40106)] = pod;
  EXPECT_EQ(name(route({IpAddress::v4(0x0af40105), 80})), "pod") << "never around its policies";
  EXPECT_EQ(name(route({IpAddress::v4(0x0af40106), 80})), "pod");
}

}  // namespace
}  // namespace weft::node
