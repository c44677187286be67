#include "agent/sandbox/gateways.h"

#include "agent/compile/waypoint_binding.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace weft::sandbox {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::Not;

ObjectPtr one(const std::string& yaml) {
  const auto parsed = objects::parse_manifests(yaml, "test");
  EXPECT_THAT(parsed.errors, IsEmpty());
  return parsed.objects.front();
}

ObjectPtr gateway(const std::string& klass = "weft-waypoint", const std::string& uid = "g1") {
  return one(
      "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {name: gate, "
      "namespace: shop, uid: " +
      uid + "}\nspec: {gatewayClassName: " + klass +
      ", infrastructure: {labels: {team: web}}, listeners: [{name: mesh, port: 15008, "
      "protocol: HBONE}]}\n");
}

compile::WaypointProgram program() {
  compile::WaypointProgram program;
  program.command = {"/bin/weft-ztunnel"};
  program.flags = {"--control=172.31.0.2:15012"};
  return program;
}

const Families kV4;

std::vector<std::string> keys_of(const std::vector<ObjectPtr>& objects) {
  std::vector<std::string> keys;
  for (const ObjectPtr& object : objects) keys.push_back(object->key().to_string());
  return keys;
}

TEST(Gateways, AWaypointIsAnAccountAServiceAndADeployment) {
  const GatewayPlan plan = plan_gateways({gateway()}, program(), kV4);
  EXPECT_THAT(keys_of(plan.put), ElementsAre("ServiceAccount/shop/gate", "Service/shop/gate",
                                             "Deployment/shop/gate", "Gateway/shop/gate"));
  const auto& service = *plan.put[1]->as<crd::core::Service>();
  EXPECT_FALSE(service.spec().clusterip().empty());
  EXPECT_EQ(service.metadata().ownerreferences(0).uid(), "g1");
  const auto& deployment = *plan.put[2]->as<crd::core::Deployment>();
  const auto& pod = deployment.spec().template_();
  EXPECT_EQ(pod.metadata().labels().at("istio.io/dataplane-mode"), "none");
  EXPECT_EQ(pod.metadata().labels().at("team"), "web");
  EXPECT_EQ(pod.spec().serviceaccountname(), "gate");
  EXPECT_THAT(pod.spec().containers(0).args(), Contains("--gateway=gate"));
  crd::core::Pod made;
  *made.mutable_metadata() = pod.metadata();
  EXPECT_TRUE(wants_secrets(made));
}

TEST(Gateways, WhatIsThereIsLeftAsItIs) {
  std::vector<ObjectPtr> present{gateway()};
  for (int turn = 0; turn < 3; ++turn) {
    const GatewayPlan plan = plan_gateways(present, program(), kV4);
    if (turn == 2) {
      EXPECT_THAT(keys_of(plan.put), IsEmpty());
    }
    for (const ObjectPtr& made : plan.put) {
      std::erase_if(present, [&](const ObjectPtr& old) { return old->key() == made->key(); });
      present.push_back(made);
    }
  }
}

TEST(Gateways, ItsPartsGoWithIt) {
  std::vector<ObjectPtr> present = plan_gateways({gateway()}, program(), kV4).put;
  std::erase_if(present, [](const ObjectPtr& one) { return one->kind() == "Gateway"; });
  EXPECT_EQ(plan_gateways(present, program(), kV4).remove.size(), 3U);
  // One of the same name that was made anew is another one.
  present.push_back(gateway("weft-waypoint", "g2"));
  EXPECT_EQ(plan_gateways(present, program(), kV4).remove.size(), 3U);
}

TEST(Gateways, OtherClassesAndOthersObjectsAreNotTouched) {
  EXPECT_THAT(plan_gateways({gateway("nginx")}, program(), kV4).put, IsEmpty());
  const auto foreign =
      one("apiVersion: v1\nkind: Service\nmetadata: {name: gate, namespace: shop, uid: s}\nspec: "
          "{ports: [{port: 80}]}\n");
  const GatewayPlan plan = plan_gateways({gateway(), foreign}, program(), kV4);
  EXPECT_THAT(keys_of(plan.put), Not(Contains("Service/shop/gate")));
}

}  // namespace
}  // namespace weft::sandbox
