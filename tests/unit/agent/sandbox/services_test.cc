#include "agent/sandbox/services.h"

#include "tests/unit/agent/sandbox/samples.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace weft::sandbox {

std::vector<ObjectPtr> parse(const std::string& yaml) {
  objects::Parsed parsed = objects::parse_manifests(yaml, "sample");
  for (const Error& error : parsed.errors) ADD_FAILURE() << error.to_string();
  return parsed.objects;
}

std::shared_ptr<crd::core::Pod> make_pod(const PodSample& sample) {
  auto pod = std::make_shared<crd::core::Pod>();
  auto& meta = *pod->mutable_metadata();
  meta.set_name(sample.name);
  meta.set_namespace_(sample.ns);
  meta.set_uid("uid-" + sample.name);
  (*meta.mutable_labels())["app"] = sample.app;
  if (!sample.hash.empty()) (*meta.mutable_labels())[kTemplateHashLabel] = sample.hash;
  if (!sample.owner_uid.empty()) meta.add_ownerreferences()->set_uid(sample.owner_uid);
  pod->mutable_spec()->set_nodename(sample.node);
  auto& container = *pod->mutable_spec()->add_containers();
  auto& port = *container.add_ports();
  port.set_name("http");
  port.set_containerport(8080);
  pod->mutable_status()->set_podip(sample.ip);
  pod->mutable_status()->set_phase("Running");
  auto& condition = *pod->mutable_status()->add_conditions();
  condition.set_type("Ready");
  condition.set_status(sample.ready ? "True" : "False");
  return pod;
}

namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

ServicePtr web(const std::string& cluster_ip, const std::string& target) {
  return parse_one<crd::core::Service>(
      "apiVersion: v1\nkind: Service\nmetadata: {name: web, namespace: default}\n"
      "spec: {clusterIP: " +
      cluster_ip + ", selector: {app: web}, ports: [{port: 80, targetPort: " + target + "}]}\n");
}

TEST(Services, TargetPortByNumberByNameAndByDefault) {
  const auto pod = make_pod({});
  crd::core::ServicePort port;
  port.set_port(80);
  EXPECT_EQ(target_port(port, *pod), 80);
  port.mutable_targetport()->set_number_value(5001);
  EXPECT_EQ(target_port(port, *pod), 5001);
  port.mutable_targetport()->set_string_value("http");
  EXPECT_EQ(target_port(port, *pod), 8080);
  port.mutable_targetport()->set_string_value("5002");
  EXPECT_EQ(target_port(port, *pod), 5002);
  port.mutable_targetport()->set_string_value("grpc");
  EXPECT_EQ(target_port(port, *pod), std::nullopt);
  port.mutable_targetport()->set_number_value(70000);
  EXPECT_EQ(target_port(port, *pod), std::nullopt);
}

TEST(Services, EndpointsAreReadyStayingPodsOfTheNamespaceWithAnAddress) {
  const auto good = make_pod({.name = "good", .ip = "10.244.1.3"});
  const auto leaving = make_pod({.name = "leaving", .ip = "10.244.1.4"});
  leaving->mutable_metadata()->set_deletiontimestamp("2026-01-01T00:00:00Z");
  const auto finished = make_pod({.name = "finished", .ip = "10.244.1.5"});
  finished->mutable_status()->set_phase("Failed");
  const std::vector<PodPtr> pods = {
      good,
      leaving,
      finished,
      make_pod({.name = "unready", .ip = "10.244.1.6", .ready = false}),
      make_pod({.name = "elsewhere", .ns = "other", .ip = "10.244.1.7"}),
      make_pod({.name = "different", .app = "db", .ip = "10.244.1.8"}),
      make_pod({.name = "starting"}),
  };
  EXPECT_THAT(endpoints_of(*web("10.96.1.1", "5001"), pods), ElementsAre(good));
}

TEST(Services, ASelectorThatIsAbsentSelectsNothing) {
  const auto service = parse_one<crd::core::Service>(
      "apiVersion: v1\nkind: Service\nmetadata: {name: a, namespace: default}\n"
      "spec: {ports: [{port: 80}]}\n");
  EXPECT_FALSE(selects(*service, *make_pod({})));
}

TEST(Services, RulesetTranslatesToEveryEndpointAndRefusesTheRest) {
  const std::string rules = render_nftables(
      {web("10.96.1.1", "http")},
      {make_pod({.name = "a", .ip = "10.244.1.3"}), make_pod({.name = "b", .ip = "10.244.2.3"})},
      {});
  EXPECT_THAT(rules, HasSubstr("ip daddr 10.96.1.1 tcp dport 80 dnat ip to numgen random mod 2 map "
                               "{ 0 : 10.244.1.3 . 8080, 1 : 10.244.2.3 . 8080 }"));
  EXPECT_THAT(rules, HasSubstr("10.244.1.3 . 10.244.1.3"));
  EXPECT_THAT(rules, HasSubstr("reject with tcp reset"));
}

TEST(Services, NoEndpointsAndHeadlessMakeNoTranslation) {
  EXPECT_THAT(render_nftables({web("10.96.1.1", "5001"), web("None", "5001")}, {}, {}),
              Not(HasSubstr("dnat")));
}

TEST(Services, EachFamilyHasItsOwnHalf) {
  const auto service = std::make_shared<crd::core::Service>(*web("10.96.1.1", "http"));
  for (const char* ip : {"10.96.1.1", "fd00:10:96::101"})
    service->mutable_spec()->add_clusterips(ip);
  const auto both = make_pod({.name = "a", .ip = "10.244.1.3"});
  both->mutable_status()->add_podips()->set_ip("10.244.1.3");
  both->mutable_status()->add_podips()->set_ip("fd00:10:244:1::3");
  const auto v4_only = make_pod({.name = "b", .ip = "10.244.2.3"});
  const std::string rules = render_nftables({service}, {both, v4_only}, {.v4 = true, .v6 = true});
  EXPECT_THAT(rules, HasSubstr("ip daddr 10.96.1.1 tcp dport 80 dnat ip to numgen random mod 2"));
  EXPECT_THAT(rules, HasSubstr("ip6 daddr fd00:10:96::101 tcp dport 80 dnat ip6 to numgen random "
                               "mod 1 map { 0 : fd00:10:244:1::3 . 8080 }"));
  EXPECT_THAT(rules, HasSubstr("table ip6 weft {"));
  EXPECT_THAT(render_nftables({service}, {both}, {}), Not(HasSubstr("ip6")));
}

TEST(Services, HeadlessZoneFollowsTheFamiliesOfTheService) {
  const auto service = std::make_shared<crd::core::Service>(*web("None", "1"));
  const auto pod = make_pod({.ip = "10.244.1.3"});
  pod->mutable_status()->add_podips()->set_ip("10.244.1.3");
  pod->mutable_status()->add_podips()->set_ip("fd00:10:244:1::3");
  const auto addresses = [&] { return make_zone({service}, {pod}).begin()->second; };
  service->mutable_spec()->add_ipfamilies("IPv4");
  EXPECT_THAT(addresses(), ElementsAre("10.244.1.3"));
  service->mutable_spec()->add_ipfamilies("IPv6");
  EXPECT_THAT(addresses(), ElementsAre("10.244.1.3", "fd00:10:244:1::3"));
}

TEST(Services, ZoneHasClusterIpsAndEndpointsOfHeadlessOnes) {
  const auto pod = make_pod({.ip = "10.244.1.3"});
  EXPECT_THAT(make_zone({web("10.96.1.1", "1")}, {pod}).at("web.default.svc.cluster.local"),
              ElementsAre("10.96.1.1"));
  EXPECT_THAT(make_zone({web("None", "1")}, {pod}).at("web.default.svc.cluster.local"),
              ElementsAre("10.244.1.3"));
}

}  // namespace
}  // namespace weft::sandbox
