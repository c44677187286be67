#include "agent/compile/waypoint_binding.h"

#include "agent/compile/compiler.h"
#include "proto/route.pb.h"
#include "proto/workload.pb.h"
#include "tests/unit/agent/compile/manifests.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace weft::compile {
namespace {

using testing::HasSubstr;

std::string ns(const std::string& name, const std::string& labels) {
  return "---\napiVersion: v1\nkind: Namespace\nmetadata: {name: " + name + ", labels: {" + labels +
         "}}\n";
}

std::string gateway(const std::string& labels = "", const std::string& routes = "") {
  return "---\napiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {name: wp, "
         "namespace: shop, labels: {" +
         labels +
         "}}\nspec: {gatewayClassName: weft-waypoint, listeners: [{name: mesh, port: 15008, "
         "protocol: HBONE" +
         routes + "}]}\n";
}

std::string service(const std::string& ns, const std::string& labels = "") {
  return "---\napiVersion: v1\nkind: Service\nmetadata: {name: web, namespace: " + ns +
         ", labels: {" + labels +
         "}}\nspec: {clusterIP: 10.96.0.1, selector: {app: web}, ports: "
         "[{name: http, port: 80}]}\n";
}

// The host name of a service's or a pod's waypoint; empty: none.
std::string waypoint_in(const Compiler& compiler, const std::string& name) {
  for (const Resource& resource : compiler.all()) {
    if (resource.name != name) continue;
    istio::workload::Address address;
    EXPECT_TRUE(address.ParseFromString(resource.bytes));
    const auto& found =
        address.has_service() ? address.service().waypoint() : address.workload().waypoint();
    EXPECT_TRUE(!found.has_hostname() || found.hbone_mtls_port() == 15008);
    return found.hostname().hostname();
  }
  return "no such resource";
}

std::string refused_in(const Compiler& compiler, const std::string& name) {
  for (const Resource& resource : compiler.all()) {
    if (resource.name != name || resource.type != "weft.route.Routes") continue;
    weft::route::Routes routes;
    EXPECT_TRUE(routes.ParseFromString(resource.bytes));
    return routes.refused();
  }
  return "no such resource";
}

const std::string kWeb = "shop/web.shop.svc.cluster.local";
const std::string kPod = "Kubernetes//Pod/shop/a";
const std::string kWaypoint = "wp.shop.svc.cluster.local";

TEST(WaypointBinding, ByLabelAndByWhatTheWaypointIsFor) {
  const std::string rest = service("shop") + "---\n" + pod("shop", "a", "app: web", "10.244.0.5");
  const std::string named = ns("shop", "istio.io/use-waypoint: wp");
  struct Row {
    std::string waypoint_for;
    std::string service;
    std::string pod;
  };
  for (const Row& row :
       {Row{"", kWaypoint, ""}, Row{"istio.io/waypoint-for: service", kWaypoint, ""},
        Row{"istio.io/waypoint-for: workload", "", kWaypoint},
        Row{"istio.io/waypoint-for: all", kWaypoint, kWaypoint},
        Row{"istio.io/waypoint-for: none", "", ""}}) {
    Compiler compiler({});
    compiler.apply(changes_of(named + rest + gateway(row.waypoint_for)));
    EXPECT_EQ(waypoint_in(compiler, kWeb), row.service) << row.waypoint_for;
    EXPECT_EQ(waypoint_in(compiler, kPod), row.pod) << row.waypoint_for;
  }
}

TEST(WaypointBinding, FollowsTheGatewayAndTheLabels) {
  Compiler compiler({});
  compiler.apply(changes_of(ns("shop", "istio.io/use-waypoint: wp") + service("shop")));
  EXPECT_EQ(waypoint_in(compiler, kWeb), kWaypoint) << "one that is not there is not gone past";
  compiler.apply(changes_of(gateway("istio.io/waypoint-for: workload")));
  EXPECT_EQ(waypoint_in(compiler, kWeb), "");
  compiler.apply(changes_of(gateway()));
  EXPECT_EQ(waypoint_in(compiler, kWeb), kWaypoint);
  compiler.apply(changes_of(service("shop", "istio.io/use-waypoint: none")));
  EXPECT_EQ(waypoint_in(compiler, kWeb), "");
  compiler.apply(changes_of(service("shop", kGatewayNameLabel + std::string(": wp"))));
  EXPECT_EQ(waypoint_in(compiler, kWeb), "") << "a waypoint's own Service has none";
}

TEST(WaypointBinding, AnotherNamespaceHasToBeLetIn) {
  const std::string bank = ns("shop", "") +
                           ns("bank",
                              "team: bank, istio.io/use-waypoint: wp, "
                              "istio.io/use-waypoint-namespace: shop") +
                           service("bank");
  const std::string routes = "shop/wp/bank/web.bank.svc.cluster.local";
  const auto refused = [&](const std::string& allowed) {
    Compiler compiler({});
    compiler.apply(changes_of(bank + gateway("", allowed)));
    EXPECT_EQ(waypoint_in(compiler, "bank/web.bank.svc.cluster.local"), kWaypoint);
    return refused_in(compiler, routes);
  };
  EXPECT_THAT(refused(""), HasSubstr("does not serve namespace bank"));
  EXPECT_THAT(refused(", allowedRoutes: {namespaces: {from: Same}}"), HasSubstr("allowedRoutes"));
  EXPECT_EQ(refused(", allowedRoutes: {namespaces: {from: All}}"), "");
  EXPECT_EQ(refused(", allowedRoutes: {namespaces: {from: Selector, selector: {matchLabels: {team: "
                    "bank}}}}"),
            "");
  EXPECT_NE(refused(", allowedRoutes: {namespaces: {from: Selector, selector: {matchExpressions: "
                    "[{key: team, operator: NotIn, values: [bank]}]}}}"),
            "");
}

TEST(WaypointBinding, WhatNobodyEnforcesIsRefused) {
  const std::string base = ns("shop", "istio.io/use-waypoint: wp") + service("shop") + gateway();
  const auto refused = [&](const std::string& kind, const std::string& spec) {
    Compiler compiler({});
    compiler.apply(changes_of(base + "---\napiVersion: security.istio.io/v1\nkind: " + kind +
                              "\nmetadata: {name: p, namespace: shop}\nspec: {" + spec + "}\n"));
    return refused_in(compiler, "shop/wp/" + kWeb);
  };
  const std::string to_service = "targetRefs: [{kind: Service, name: web}]";
  EXPECT_THAT(refused("AuthorizationPolicy", to_service + ", rules: [{}]"),
              HasSubstr("AuthorizationPolicy shop/p guards it"));
  EXPECT_THAT(refused("RequestAuthentication", to_service), HasSubstr("RequestAuthentication"));
  EXPECT_NE(refused("AuthorizationPolicy",
                    "targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: wp}]"),
            "");
  EXPECT_EQ(refused("AuthorizationPolicy", "targetRefs: [{kind: Service, name: other}]"), "");
  EXPECT_EQ(refused("AuthorizationPolicy", to_service + ", action: AUDIT, rules: [{}]"), "");
}

// A workload's own address has no routes that could refuse: its waypoint gets a name that nothing
// has.
TEST(WaypointBinding, GuardedWorkloadsAreRefusedToo) {
  Compiler compiler({});
  compiler.apply(changes_of(ns("shop", "istio.io/use-waypoint: wp") + "---\n" +
                            pod("shop", "a", "app: web", "10.244.0.5") +
                            gateway("istio.io/waypoint-for: all")));
  EXPECT_EQ(waypoint_in(compiler, kPod), kWaypoint);
  compiler.apply(changes_of(
      "---\napiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: p, "
      "namespace: shop}\nspec: {rules: [{}], targetRefs: [{group: gateway.networking.k8s.io, kind: "
      "Gateway, name: wp}]}\n"));
  EXPECT_EQ(waypoint_in(compiler, kPod), "guarded.wp.shop.invalid");
  compiler.apply({removal("AuthorizationPolicy", "shop", "p")});
  EXPECT_EQ(waypoint_in(compiler, kPod), kWaypoint);
}

}  // namespace
}  // namespace weft::compile
