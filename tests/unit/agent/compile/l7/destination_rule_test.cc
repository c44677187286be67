#include "tests/unit/agent/compile/l7/shop.h"

#include <gmock/gmock.h>

namespace weft::l7 {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

const std::string kWeb = "shop/wp/shop/web.shop.svc.cluster.local";

weft::route::Policy policy_of(const Compiler& compiler, const std::string& name = kWeb) {
  weft::route::Policy policy;
  for (const Resource& one : compiler.all()) {
    if (one.type == "weft.route.Policy" && one.name == name) policy.ParseFromString(one.bytes);
  }
  return policy;
}

std::string rule(const std::string& name, const std::string& spec, int year = 2026,
                 const std::string& ns = "shop") {
  return istio("DestinationRule", ns, name, spec, year);
}

std::string traffic(const std::string& policy) {
  return to_json(
      policy_of(Shop(rule("dr", "{host: web, trafficPolicy: {" + policy + "}}"))).traffic());
}

// What a field of the policy becomes.
TEST(TrafficPolicies, AreWhole) {
  const struct {
    std::string policy;
    std::string expected;
  } kRows[] = {
      {"loadBalancer: {simple: ROUND_ROBIN, warmup: {duration: 30s}}",
       R"({"balancing":{"algorithm":"ROUND_ROBIN","warmup":{"durationMs":30000,)"
       R"("minimumPercent":10,"aggression":1}}})"},
      {"loadBalancer: {simple: LEAST_CONN}", R"({"balancing":{}})"},
      {"loadBalancer: {consistentHash: {httpHeaderName: x-user}}",
       R"({"balancing":{"algorithm":"RING_HASH","hashOn":{"header":"x-user"},"tableSize":)"
       R"("1024"}})"},
      {"loadBalancer: {consistentHash: {httpCookie: {name: c, path: /, ttl: 0s}, maglev: {}}}",
       R"({"balancing":{"algorithm":"MAGLEV","hashOn":{"cookie":{"name":"c","path":"/",)"
       R"("ttlS":"0"}},"tableSize":"65537"}})"},
      {"connectionPool: {tcp: {maxConnections: 1, connectTimeout: 30ms, idleTimeout: 0s}, http: "
       "{http1MaxPendingRequests: 1, http2MaxRequests: 2, maxRequestsPerConnection: 3, maxRetries: "
       "4, h2UpgradePolicy: UPGRADE}}",
       R"({"balancing":{},"limits":{"connections":1,"pendingRequests":1,"requests":2,"retries":4,)"
       R"("requestsPerConnection":3,"connectTimeoutMs":30,"idleTimeoutMs":4294967295,)"
       R"("upgrade":"HTTP2"}})"},
      {"outlierDetection: {consecutive5xxErrors: 3}",
       R"({"balancing":{"locality":{"enabled":true}},"outlier":{"consecutive5xx":3,)"
       R"("intervalMs":10000,"ejectionMs":30000,"ejectionPercentMax":10}})"},
      {"outlierDetection: {splitExternalLocalOriginErrors: true, consecutiveGatewayErrors: 2, "
       "interval: 1s, baseEjectionTime: 3m, maxEjectionPercent: 100}",
       R"("outlier":{"consecutive5xx":5,"consecutiveGateway":2,"consecutiveLocal":5,)"
       R"("splitLocal":true,"intervalMs":1000,"ejectionMs":180000,"ejectionPercentMax":100}})"},
      {"loadBalancer: {localityLbSetting: {distribute: [{from: eu/*, to: {eu/a: 100}}]}}",
       R"("locality":{"distribute":[{"from":"eu/*","to":{"eu/a":100}}],"enabled":true})"},
      {"tls: {mode: MUTUAL, clientCertificate: /c, privateKey: /k, caCertificates: /r, sni: s, "
       "subjectAltNames: [a]}",
       R"("tls":{"mode":"MUTUAL","sni":"s","subjectAltNames":["a"],"certificateFile":"/c",)"
       R"("keyFile":"/k","rootsFile":"/r"})"},
      {"tls: {mode: ISTIO_MUTUAL}", R"({"balancing":{}})"},
      {"proxyProtocol: {version: V2}, retryBudget: {}",
       R"("limits":{"retryBudgetPercent":20,"retryBudgetMinimum":3},"proxyProtocol":2})"},
  };
  for (const auto& row : kRows) {
    EXPECT_THAT(traffic(row.policy), HasSubstr(row.expected)) << row.policy;
  }
  EXPECT_THAT(traffic("outlierDetection: {}, loadBalancer: {localityLbSetting: {enabled: false}}"),
              Not(HasSubstr("locality")));
}

// Subsets replace part by part; a port's settings leave nothing of the others.
TEST(TrafficPolicies, OfSubsetsAndPortsOverride) {
  const auto policy = policy_of(Shop(
      rule("dr",
           "{host: web, trafficPolicy: {loadBalancer: {simple: RANDOM}, connectionPool: {tcp: "
           "{maxConnections: 9}}, portLevelSettings: [{port: {number: 80}, loadBalancer: {simple: "
           "ROUND_ROBIN}}]}, subsets: [{name: v1, labels: {version: v1}, trafficPolicy: "
           "{connectionPool: "
           "{tcp: {maxConnections: 1}}}}, {name: v2, trafficPolicy: {portLevelSettings: [{port: "
           "{number: "
           "81}, connectionPool: {tcp: {maxConnections: 2}}}]}}]}")));
  const auto text = [](const weft::route::Traffic& one) {
    return weft::route::Balancing::Algorithm_Name(one.balancing().algorithm()) + " " +
           std::to_string(one.limits().connections());
  };
  EXPECT_EQ(text(policy.traffic()), "RANDOM 9");
  EXPECT_EQ(text(policy.ports().at(80)), "ROUND_ROBIN 0");
  ASSERT_EQ(policy.subsets_size(), 2);
  EXPECT_EQ(text(policy.subsets(0).traffic()), "RANDOM 1");
  EXPECT_EQ(text(policy.subsets(0).ports().at(80)), "ROUND_ROBIN 1");
  EXPECT_EQ(text(policy.subsets(1).traffic()), "RANDOM 9");
  EXPECT_EQ(text(policy.subsets(1).ports().at(81)), "LEAST_REQUEST 2");
  EXPECT_EQ(policy.origin(), "DestinationRule shop/dr");
}

std::string random_of(uint32_t connections) {
  return "trafficPolicy: {connectionPool: {tcp: {maxConnections: " + std::to_string(connections) +
         "}}}}";
}

// The waypoint's namespace, the service's, the root's; the most exact host; the oldest policy.
TEST(Lookup, IsByNamespaceThenHostThenAge) {
  Compiler compiler({});
  const auto found = [&] {
    return policy_of(compiler, "infra/wp/shop/web.shop.svc.cluster.local")
        .traffic()
        .limits()
        .connections();
  };
  const std::string host = "{host: web.shop.svc.cluster.local, ";
  const std::string all = "{host: \"*.shop.svc.cluster.local\", ";
  compiler.apply(changes_of(
      shop_namespace("istio.io/use-waypoint: wp, istio.io/use-waypoint-namespace: infra") +
      service("shop", "web") + rule("root", host + random_of(1), 2020, "istio-system")));
  EXPECT_EQ(found(), 1U);
  compiler.apply(changes_of(rule("hidden", "{exportTo: [\".\"], " + host.substr(1) + random_of(7)) +
                            rule("wide", all + random_of(2), 2020)));
  EXPECT_EQ(found(), 2U);
  compiler.apply(changes_of(rule("young", host + random_of(3), 2026)));
  EXPECT_EQ(found(), 3U);
  compiler.apply(changes_of(rule("old", host + random_of(4), 2021)));
  EXPECT_EQ(found(), 4U);
  compiler.apply(changes_of(rule("theirs", host + random_of(5), 2026, "infra")));
  EXPECT_EQ(found(), 5U);
  compiler.apply(changes_of(
      rule("picky",
           "{workloadSelector: {matchLabels: {gateway.networking.k8s.io/gateway-name: wp}}, " +
               host.substr(1) + random_of(6),
           2026, "infra")));
  EXPECT_EQ(found(), 6U);
  compiler.apply(
      {removal("DestinationRule", "infra", "picky"), removal("DestinationRule", "infra", "theirs"),
       removal("DestinationRule", "shop", "old"), removal("DestinationRule", "shop", "young")});
  EXPECT_EQ(found(), 2U);
}

TEST(Lookup, RulesForOneHostAreMerged) {
  const auto policy = policy_of(Shop(
      rule("b", "{host: web, subsets: [{name: v1, labels: {a: new}}, {name: v2}], " + random_of(2),
           2022) +
      rule("a", "{host: web, subsets: [{name: v1, labels: {a: old}}], " + random_of(1), 2021)));
  EXPECT_EQ(policy.traffic().limits().connections(), 1U);
  ASSERT_EQ(policy.subsets_size(), 2);
  EXPECT_EQ(policy.subsets(0).name(), "v1");
  EXPECT_EQ(policy.subsets(1).name(), "v2");
}

TEST(Policies, AreOfWhatWaypointsSendTo) {
  const std::string to_far = virtual_service("vs",
                                             "{hosts: [web], http: [{route: [{destination: {host: "
                                             "far.other.svc.cluster.local}}]}]}");
  Shop compiler(service("other", "far") + service("other", "else") +
                rule("dr", "{host: \"*.other.svc.cluster.local\", " + random_of(1)));
  EXPECT_THAT(steps(compiler.apply(changes_of(to_far))),
              ElementsAre("+shop/wp/other/far.other.svc.cluster.local", "+" + kWeb));
  // One rule changed: what is reached by it, and nothing else.
  EXPECT_THAT(steps(compiler.apply(
                  changes_of(rule("dr", "{host: \"*.other.svc.cluster.local\", " + random_of(2))))),
              ElementsAre("+shop/wp/other/far.other.svc.cluster.local"));
  EXPECT_THAT(steps(compiler.apply({removal("VirtualService", "shop", "vs")})),
              ElementsAre("+" + kWeb, "-shop/wp/other/far.other.svc.cluster.local"));
}

TEST(Policies, HaveTheMeshsDefaults) {
  const std::string mesh =
      "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {namespace: istio-system, name: istio}\n"
      "data:\n  mesh: |\n    defaultTrafficPolicy: {connectionPool: {tcp: {maxConnections: 7}}}\n";
  Shop compiler(mesh + rule("dr", "{host: web, trafficPolicy: {loadBalancer: {simple: RANDOM}}}"));
  EXPECT_EQ(policy_of(compiler).traffic().limits().connections(), 7U);
  EXPECT_EQ(policy_of(compiler, "shop/wp/shop/api.shop.svc.cluster.local").origin(), "");
}

TEST(Subsets, AreOfTheWorkloadAlone) {
  const auto labelled = [](const std::string& version) {
    return compile::pod("shop", "p", "app: web, version: " + version, "10.0.0.1");
  };
  const std::string subsets =
      "{host: web, subsets: [{name: all}, {name: v1, labels: {version: v1}}]}";
  Shop compiler(labelled("v1") + compile::pod("shop", "q", "app: api, version: v1", "10.0.0.2") +
                rule("dr", subsets));
  const std::string pod = "Kubernetes//Pod/shop/p";
  const std::string own = "shop/web.shop.svc.cluster.local/";
  EXPECT_THAT(compile::body_of(compiler, pod),
              HasSubstr("\"subsets\":[\"" + own + "all\",\"" + own + "v1\"]"));
  EXPECT_THAT(compile::body_of(compiler, "Kubernetes//Pod/shop/q"), Not(HasSubstr("subsets")));
  EXPECT_THAT(steps(compiler.apply(changes_of(labelled("v2")))), ElementsAre("+" + pod));
  EXPECT_THAT(compile::body_of(compiler, pod), HasSubstr("\"subsets\":[\"" + own + "all\"]"));
  EXPECT_THAT(steps(compiler.apply({removal("DestinationRule", "shop", "dr")})),
              ElementsAre("+" + pod, "-" + kWeb));
}

// A third namespace's rule cannot change who is of the service's own subsets.
TEST(Subsets, OfOtherNamespacesAreTheirs) {
  const std::string host = "web.shop.svc.cluster.local";
  Shop compiler(
      compile::pod("shop", "p", "app: web", "10.0.0.1") +
      rule("own", "{host: web, subsets: [{name: v1, labels: {version: v1}}]}") +
      rule("theirs", "{host: " + host + ", subsets: [{name: v1}]}", 2020, "team") +
      "---\napiVersion: v1\nkind: Namespace\nmetadata: {name: team, labels: "
      "{istio.io/use-waypoint: "
      "wp}}\n" +
      service("team", "app") +
      istio("VirtualService", "team", "vs",
            "{hosts: [app], http: [{route: [{destination: {host: " + host + ", subset: v1}}]}]}") +
      virtual_service("vs",
                      "{hosts: [web], http: [{route: [{destination: {host: web, subset: "
                      "v1}}]}]}"));
  EXPECT_THAT(compile::body_of(compiler, "Kubernetes//Pod/shop/p"),
              HasSubstr("\"subsets\":[\"shop/" + host + "/v1@team\"]"));
  const auto subset_in = [](const weft::route::Routes& routes) {
    return routes.ports(0).http(0).forward().destinations(0).destination().subset();
  };
  EXPECT_EQ(subset_in(routes_of(compiler)), "v1");
  EXPECT_EQ(subset_in(routes_of(compiler, "app", "team", "team/wp")), "v1@team");
  EXPECT_EQ(policy_of(compiler, "team/wp/shop/" + host).subsets(0).name(), "v1@team");
}

}  // namespace
}  // namespace weft::l7
