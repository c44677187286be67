// One row a finding: manifests, and exactly what is to be said about them.

#include "agent/compile/analyze/analyze.h"

#include "tests/unit/agent/compile/manifests.h"

#include <gmock/gmock.h>

namespace weft::analyze {
namespace {

using compile::peer;
using compile::policy;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

std::vector<Finding> analyze_text(std::string_view yaml) {
  objects::Parsed parsed = objects::parse_manifests(yaml, "test.yaml");
  return analyze({std::move(parsed.objects), std::move(parsed.errors), {}});
}

// "Warning IST0127 Service shop/web", one for each finding.
std::vector<std::string> heads(const std::vector<Finding>& findings) {
  std::vector<std::string> result;
  for (const Finding& finding : findings) {
    result.push_back(std::string(to_string(finding.rule.level)) + " " +
                     std::string(finding.rule.code) + " " + finding.origin);
  }
  return result;
}

std::string ns(const std::string& name, const std::string& labels = "") {
  return "---\napiVersion: v1\nkind: Namespace\nmetadata: {name: " + name + ", labels: {" + labels +
         "}}\n";
}

// A namespace `shop` of the mesh with a Deployment `web` that has port 8080, named http.
std::string shop() {
  return ns("shop", "istio.io/dataplane-mode: ambient") +
         "---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {namespace: shop, name: web}\n"
         "spec:\n"
         "  selector: {matchLabels: {app: web}}\n"
         "  template:\n"
         "    metadata: {labels: {app: web}}\n"
         "    spec:\n"
         "      serviceAccountName: web\n"
         "      containers: [{name: c, ports: [{name: http, containerPort: 8080}]}]\n";
}

std::string service(const std::string& name, const std::string& selector,
                    const std::string& ports) {
  return "---\napiVersion: v1\nkind: Service\nmetadata: {namespace: shop, name: " + name +
         "}\nspec: {selector: {" + selector + "}, ports: [" + ports + "]}\n";
}

std::string object(const std::string& api, const std::string& kind, const std::string& meta,
                   const std::string& rest) {
  return "---\napiVersion: " + api + "\nkind: " + kind + "\nmetadata: {" + meta + "}\n" + rest +
         "\n";
}

struct Row {
  std::string name;
  std::string yaml;
  std::string head;     // empty: nothing is found
  std::string message;  // a part of it
};

std::vector<Row> mistakes_and_references() {
  const std::string net = "networking.istio.io/v1";
  return {
      {"UnknownField", shop() + policy("shop", "p", "{acton: DENY, rules: [{}]}"),
       "Error IST0106 AuthorizationPolicy shop/p", "spec.acton: unknown field"},
      {"BadEnum", shop() + peer("shop", "p", "{mtls: {mode: strict}}"),
       "Error IST0106 PeerAuthentication shop/p", "spec.mtls.mode"},
      {"NotYaml", "a: [", "Error IST0106 test.yaml", ""},
      {"UnknownKindOfOurs", object("networking.istio.io/v1", "VirtualServise", "name: x", ""),
       "Error IST0106 test.yaml", "did you mean VirtualService?"},
      {"ForeignKind", object("cert-manager.io/v1", "Certificate", "name: x", ""),
       "Info WEFT0001 test.yaml", "unknown kind"},
      {"PolicyInNoNamespace", policy("nowhere", "p", "{rules: [{}]}"),
       "Error IST0101 AuthorizationPolicy nowhere/p", "namespace \"nowhere\" does not exist"},
      {"PeerInNoNamespace", peer("nowhere", "p", "{mtls: {mode: STRICT}}"),
       "Error IST0101 PeerAuthentication nowhere/p", "namespace \"nowhere\" does not exist"},
      {"SourceNamespace",
       shop() + policy("shop", "p", "{rules: [{from: [{source: {namespaces: [front, 'x*']}}]}]}"),
       "Error IST0101 AuthorizationPolicy shop/p", "namespace \"front\""},
      {"SourceNamespaceInWhen",
       shop() +
           policy("shop", "p", "{rules: [{when: [{key: source.namespace, values: [front]}]}]}"),
       "Error IST0101 AuthorizationPolicy shop/p", "namespace \"front\""},
      {"SourceOfOtherNamespace",
       shop() +
           policy("shop", "p",
                  "{rules: [{from: [{source: {principals: [cluster.local/ns/front/sa/a]}}]}]}"),
       "Error IST0101 AuthorizationPolicy shop/p", "namespace \"front\" of the source"},
      {"NobodyRunsAsPrincipal",
       shop() + policy("shop", "p",
                       "{rules: [{from: [{source: {principals: [cluster.local/ns/shop/sa/a]}}]}]}"),
       "Warning WEFT0401 AuthorizationPolicy shop/p", "service account \"a\""},
      {"NobodyRunsAsAccount",
       shop() + policy("shop", "p", "{rules: [{from: [{source: {serviceAccounts: [a]}}]}]}"),
       "Warning WEFT0401 AuthorizationPolicy shop/p", "service account \"a\""},
      {"SomebodyRunsAs",
       shop() + policy("shop", "p",
                       "{rules: [{from: [{source: {principals: [cluster.local/ns/shop/sa/web, "
                       "'*/sa/x', '*']}}]}]}"),
       "", ""},
      {"TargetService",
       shop() + policy("shop", "p", "{targetRefs: [{kind: Service, group: '', name: web}]}"),
       "Error IST0101 AuthorizationPolicy shop/p", "the Service shop/web, does not exist"},
      {"RouteHost",
       shop() + object(net, "VirtualService", "namespace: shop, name: v",
                       "spec: {http: [{route: [{destination: {host: gone}}]}]}"),
       "Error IST0101 VirtualService shop/v", "no Service shop/gone"},
      {"RouteHostByFullName",
       shop() + object(net, "VirtualService", "namespace: shop, name: v",
                       "spec: {tcp: [{route: [{destination: {host: a.b.svc.cluster.local}}]}]}"),
       "Error IST0101 VirtualService shop/v", "no Service b/a"},
      {"RuleHost",
       shop() + object(net, "DestinationRule", "namespace: shop, name: d", "spec: {host: gone}"),
       "Warning IST0174 DestinationRule shop/d", "no Service shop/gone"},
  };
}

std::vector<Row> selectors_and_ports() {
  return {
      {"ServiceWithoutPods", shop() + service("s", "app: wep", "{port: 80}"),
       "Warning IST0127 Service shop/s", "labels app=wep; there are app=web"},
      {"ServiceWithPods", shop() + service("s", "app: web", "{port: 80, targetPort: http}"), "",
       ""},
      {"PolicySelectsNothing", shop() + policy("shop", "p", "{selector: {matchLabels: {app: x}}}"),
       "Warning IST0127 AuthorizationPolicy shop/p", "no workload in namespace shop"},
      {"PeerSelectsNothing",
       shop() + peer("shop", "p", "{selector: {matchLabels: {app: x}}, mtls: {mode: STRICT}}"),
       "Warning IST0127 PeerAuthentication shop/p", "no workload in namespace shop"},
      {"RootPolicySelectsAnywhere",
       shop() + policy("istio-system", "p", "{selector: {matchLabels: {app: web}}}"), "", ""},
      {"RootPolicySelectsNothing",
       shop() + policy("istio-system", "p", "{selector: {matchLabels: {app: x}}}"),
       "Warning IST0127 AuthorizationPolicy istio-system/p", "no workload of any namespace"},
      {"SelectsPodOfStatefulSet",
       shop() +
           object("apps/v1", "StatefulSet", "namespace: shop, name: db",
                  "spec: {template: {metadata: {labels: {app: db}}, spec: {containers: [{name: c, "
                  "ports: [{containerPort: 5432}]}]}}}") +
           service("db", "app: db", "{port: 5432}"),
       "", ""},
      {"UnknownTargetPortName", shop() + service("s", "app: web", "{port: 80, targetPort: htpp}"),
       "Error WEFT0201 Service shop/s", "names a port \"htpp\""},
      {"TargetPortNobodyHas", shop() + service("s", "app: web", "{port: 80, targetPort: 9090}"),
       "Warning WEFT0202 Service shop/s", "target port 9090; they have 8080"},
      {"PortIsTargetPort", shop() + service("s", "app: web", "{port: 80}"),
       "Warning WEFT0202 Service shop/s", "target port 80; they have 8080"},
      {"UdpPortIsNotJudged",
       shop() + service("s", "app: web", "{port: 53, protocol: UDP, targetPort: dns}"), "", ""},
      {"PeerPortNobodyHas",
       shop() + peer("shop", "p",
                     "{selector: {matchLabels: {app: web}}, mtls: {mode: STRICT}, portLevelMtls: "
                     "{9090: {mode: PERMISSIVE}}}"),
       "Warning WEFT0202 PeerAuthentication shop/p", "has port 9090; they have 8080"},
      {"PeerPortIsTheServices",
       shop() + service("s", "app: web", "{port: 80, targetPort: 8080}") +
           peer("shop", "p",
                "{selector: {matchLabels: {app: web}}, portLevelMtls: {80: {mode: STRICT}}}"),
       "Warning WEFT0202 PeerAuthentication shop/p",
       "80 is the port of Service s, behind which they listen on 8080"},
      {"PolicyPortNobodyHas",
       shop() + policy("shop", "p", "{rules: [{to: [{operation: {ports: ['80']}}]}]}"),
       "Warning WEFT0202 AuthorizationPolicy shop/p", "to.ports"},
      {"PolicyPortInWhen",
       shop() + policy("shop", "p", "{rules: [{when: [{key: destination.port, values: ['80']}]}]}"),
       "Warning WEFT0202 AuthorizationPolicy shop/p", "destination.port"},
      {"PortsThatNobodyDeclares",
       ns("shop") + compile::pod("shop", "a", "app: a", "10.0.0.1") +
           service("s", "app: a", "{port: 80, targetPort: 9090}"),
       "", ""},
  };
}

std::vector<Row> enrolment_and_honoured() {
  const std::string plain = compile::pod("shop", "a", "app: a", "10.0.0.1");
  const std::string net = "networking.istio.io/v1";
  return {
      {"InjectionLabel", ns("shop", "istio-injection: enabled"), "Info WEFT0303 Namespace shop",
       "READY stays 1/1, not 2/2; prefer istio.io/dataplane-mode=ambient"},
      {"SidecarAnnotations",
       ns("shop", "istio.io/dataplane-mode: ambient") +
           compile::pod("shop", "a",
                        "app: a}, annotations: {traffic.sidecar.istio.io/excludeOutboundPorts: "
                        "'25', proxy.istio.io/config: x, sidecar.istio.io/proxyCPU: '1'",
                        "10.0.0.1"),
       "Info WEFT0305 Pod shop/a", "could apply: proxy.istio.io/config, sidecar.istio.io/proxyCPU"},
      {"InjectionDisabled", ns("shop", "istio-injection: disabled"), "", ""},
      {"BothLabels", ns("shop", "istio-injection: enabled, istio.io/dataplane-mode: ambient"),
       "Warning IST0123 Namespace shop", "remove the former"},
      {"UnknownMode", ns("shop", "istio.io/dataplane-mode: Ambient"),
       "Warning WEFT0304 Namespace shop", "expected ambient or none"},
      {"UnknownModeOfPod",
       ns("shop") + compile::pod("shop", "a", "istio.io/dataplane-mode: on-please", "10.0.0.1"),
       "Warning WEFT0304 Pod shop/a", "expected ambient or none"},
      {"HostNetwork",
       ns("shop", "istio.io/dataplane-mode: ambient") +
           compile::pod("shop", "a", "app: a", "10.0.0.1", "hostNetwork: true, "),
       "Warning WEFT0302 Pod shop/a", "hostNetwork"},
      {"HostNetworkElsewhere",
       ns("shop") + compile::pod("shop", "a", "app: a", "10.0.0.1", "hostNetwork: true, "), "", ""},
      {"Sidecar",
       ns("shop", "istio.io/dataplane-mode: ambient") +
           compile::pod("shop", "a", "app: a", "10.0.0.1",
                        "initContainers: [{name: istio-proxy}], "),
       "Warning WEFT0302 Pod shop/a", "a container istio-proxy"},
      {"SidecarWanted",
       ns("shop", "istio.io/dataplane-mode: ambient") +
           compile::pod("shop", "a", "sidecar.istio.io/inject: \"true\"", "10.0.0.1"),
       "Info WEFT0305 Pod shop/a", "in the mesh without a sidecar"},
      {"SidecarWantedElsewhere",
       ns("shop") + compile::pod("shop", "a", "sidecar.istio.io/inject: \"true\"", "10.0.0.1"),
       "Warning WEFT0302 Pod shop/a", "istio.io/dataplane-mode=ambient"},
      {"OptedOut",
       ns("shop", "istio-injection: enabled") +
           compile::pod("shop", "a", "sidecar.istio.io/inject: \"false\"", "10.0.0.1"),
       "Info WEFT0303 Namespace shop", ""},
      {"PolicyOutsideMesh", ns("shop") + plain + policy("shop", "p", "{}"),
       "Warning WEFT0301 AuthorizationPolicy shop/p", "such as Pod shop/a"},
      {"PeerOutsideMesh",
       ns("shop") + plain +
           peer("shop", "p", "{selector: {matchLabels: {app: a}}, mtls: {mode: STRICT}}"),
       "Warning WEFT0301 PeerAuthentication shop/p", "is not enforced"},
      {"NobodyKnowsWhetherInMesh", plain + policy("shop", "p", "{}"), "", ""},
      {"HttpInAllow",
       shop() + policy("shop", "p", "{rules: [{to: [{operation: {methods: [GET]}}]}]}"),
       "Warning WEFT0102 AuthorizationPolicy shop/p", "methods"},
      {"HttpInDeny",
       shop() + policy("shop", "p", "{action: DENY, rules: [{to: [{operation: {paths: [/a]}}]}]}"),
       "Warning WEFT0102 AuthorizationPolicy shop/p", "more is denied"},
      {"Custom", shop() + policy("shop", "p", "{action: CUSTOM, provider: {name: x}, rules: [{}]}"),
       "Warning WEFT0103 AuthorizationPolicy shop/p", "cannot be asked"},
      {"Audit", shop() + policy("shop", "p", "{action: AUDIT, rules: [{}]}"),
       "Warning IST0167 AuthorizationPolicy shop/p", "AUDIT"},
      {"ForWaypoint",
       shop() + service("s", "app: web", "{port: 80, targetPort: 8080}") +
           policy("shop", "p", "{targetRefs: [{kind: Service, group: '', name: s}]}"),
       "Warning WEFT0103 AuthorizationPolicy shop/p", "cannot be asked"},
      {"PeerSelectorInRoot",
       shop() + peer("istio-system", "p", "{selector: {matchLabels: {app: web}}}"),
       "Warning IST0167 PeerAuthentication istio-system/p", "selects nothing"},
      {"PeerDisable", shop() + peer("shop", "p", "{mtls: {mode: DISABLE}}"),
       "Warning WEFT0101 PeerAuthentication shop/p", "PERMISSIVE"},
      {"DryRunTypo",
       shop() + "---\napiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: "
                "{namespace: shop, name: p, annotations: {istio.io/dry-run: yes please}}\n",
       "Warning WEFT0101 AuthorizationPolicy shop/p", "true or false"},
      {"SelectsNoWorkload",
       shop() +
           object(net, "ServiceEntry", "namespace: shop, name: s",
                  "spec: {hosts: [a.org], resolution: STATIC, workloadSelector: {labels: {app: "
                  "nobody}}}"),
       "Warning IST0127 ServiceEntry shop/s", "app=nobody"},
      {"SelectsAWorkloadEntry",
       shop() + service("s", "app: vm", "{port: 80, targetPort: 8080}") +
           object(net, "WorkloadEntry", "namespace: shop, name: w",
                  "spec: {address: 10.0.0.9, labels: {app: vm}}"),
       "", ""},
      {"StaticWithoutEndpoints",
       shop() + object(net, "ServiceEntry", "namespace: shop, name: s",
                       "spec: {hosts: [a.org], resolution: STATIC}"),
       "Warning WEFT0501 ServiceEntry shop/s", "are refused"},
      {"WildcardWithStatic",
       shop() + object(net, "ServiceEntry", "namespace: shop, name: s",
                       "spec: {hosts: [\"*.a.org\"], resolution: STATIC, endpoints: [{address: "
                       "10.2.0.1}]}"),
       "Warning IST0134 ServiceEntry shop/s", "*.a.org: a wildcard is not recognised"},
      {"NoneWithoutAddresses",
       shop() + object(net, "ServiceEntry", "namespace: shop, name: s", "spec: {hosts: [a.org]}"),
       "Warning IST0134 ServiceEntry shop/s", "with no addresses written"},
      {"HostOfAService",
       shop() + service("s", "app: web", "{port: 80, targetPort: 8080}") +
           object(net, "ServiceEntry", "namespace: shop, name: e",
                  "spec: {hosts: [s.shop.svc.cluster.local], resolution: DNS}"),
       "Warning WEFT0502 ServiceEntry shop/e", "that of Service s"},
      {"SidecarSelectsNobody",
       shop() + object(net, "Sidecar", "namespace: shop, name: s",
                       "spec: {workloadSelector: {labels: {app: nobody}}}"),
       "Warning IST0127 Sidecar shop/s", "app=nobody"},
      {"SidecarListeners",
       shop() + object(net, "Sidecar", "namespace: shop, name: s",
                       "spec: {egress: [{hosts: [\"*/*\"]}]}"),
       "Warning WEFT0101 Sidecar shop/s", "only outboundTrafficPolicy"},
      {"EntryInNoNamespace",
       shop() + object(net, "ServiceEntry", "namespace: lost, name: s",
                       "spec: {hosts: [a.org], resolution: DNS}"),
       "Error IST0101 ServiceEntry lost/s", "\"lost\" does not exist"},
      {"MeshOfAnotherTrustDomain",
       "apiVersion: v1\nkind: ConfigMap\nmetadata: {namespace: istio-system, name: istio}\ndata: "
       "{mesh: \"trustDomain: other\"}\n",
       "Warning IST0167 ConfigMap istio-system/istio", "--trust-domain"},
      {"NotHonoured",
       shop() + object(net, "WorkloadGroup", "namespace: shop, name: s", "spec: {template: {}}"),
       "Warning WEFT0101 WorkloadGroup shop/s", "not yet honoured"},
      {"Bystander", ns("shop") + object("v1", "Secret", "namespace: shop, name: s", ""), "", ""},
  };
}

class AnalyzeRow : public ::testing::TestWithParam<Row> {};

TEST_P(AnalyzeRow, IsFound) {
  const Row& row = GetParam();
  const std::vector<Finding> findings = analyze_text(row.yaml);
  if (row.head.empty()) {
    EXPECT_THAT(heads(findings), IsEmpty()) << findings.front().message;
    return;
  }
  ASSERT_THAT(heads(findings), Contains(row.head));
  for (const Finding& finding : findings) {
    if (heads({finding}).front() == row.head) EXPECT_THAT(finding.message, HasSubstr(row.message));
  }
  // A policy for a waypoint brings along that waypoints do not enforce it.
  EXPECT_EQ(findings.size(), row.name == "TargetService" ? 2U : 1U)
      << ::testing::PrintToString(heads(findings));
}

std::string waypoint(const std::string& name) {
  return "---\napiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {name: " + name +
         ", namespace: shop}\nspec: {gatewayClassName: weft-waypoint, listeners: [{name: mesh, "
         "port: "
         "15008, protocol: HBONE}]}\n";
}

std::vector<Row> waypoints() {
  const std::string named =
      ns("shop", "istio.io/dataplane-mode: ambient, istio.io/use-waypoint: w") +
      compile::pod("shop", "a", "app: a", "10.0.0.1") + service("s", "app: a", "{port: 80}");
  const auto allows = [](const std::string& who) {
    return policy("shop", "p", "{rules: [{from: [{source: {principals: [" + who + "]}}]}]}");
  };
  return {
      {"NoSuchWaypoint", named, "Error IST0101 Namespace shop",
       "`weft waypoint apply -n shop --name w`"},
      {"WaypointIsThere", named + waypoint("w"), "", ""},
      {"WaypointForgotten",
       named + waypoint("w") + "---\n" + compile::pod("shop", "c", "app: c", "10.0.0.2") +
           allows("cluster.local/ns/shop/sa/default"),
       "Warning WEFT0306 Service shop/s", "add the principal cluster.local/ns/shop/sa/w"},
      {"WaypointAllowed",
       named + waypoint("w") +
           allows("cluster.local/ns/shop/sa/default, cluster.local/ns/shop/sa/w"),
       "", ""},
  };
}

std::string name_of(const ::testing::TestParamInfo<Row>& info) { return info.param.name; }
INSTANTIATE_TEST_SUITE_P(Waypoints, AnalyzeRow, ::testing::ValuesIn(waypoints()), name_of);
INSTANTIATE_TEST_SUITE_P(Mistakes, AnalyzeRow, ::testing::ValuesIn(mistakes_and_references()),
                         name_of);
INSTANTIATE_TEST_SUITE_P(Selectors, AnalyzeRow, ::testing::ValuesIn(selectors_and_ports()),
                         name_of);
INSTANTIATE_TEST_SUITE_P(Enrolment, AnalyzeRow, ::testing::ValuesIn(enrolment_and_honoured()),
                         name_of);

// Those have their rows in l7/analyze_routes_test.cc.
bool is_of_routes(const Rule& rule) {
  for (const Rule& one : {kConflictingHosts, kPortRequired, kUnreachableRule, kIneffectiveMatch,
                          kSubsetSelectsNothing}) {
    if (one.code == rule.code) return true;
  }
  return false;
}

TEST(Analyze, EveryRuleHasARow) {
  std::string heads_of_rows;
  for (const auto& rows :
       {mistakes_and_references(), selectors_and_ports(), enrolment_and_honoured(), waypoints()}) {
    for (const Row& row : rows) heads_of_rows += row.head + "\n";
  }
  for (const Rule& rule : rules()) {
    if (rule.code == kTwice.code || rule.code == kOnlyOldest.code ||
        rule.code == kTwoSidecars.code || is_of_routes(rule) ||
        rule.code == kSidecarsOverlap.code) {
      continue;  // below
    }
    EXPECT_THAT(heads_of_rows,
                HasSubstr(std::string(to_string(rule.level)) + " " + std::string(rule.code) + " "));
  }
}

TEST(Analyze, RulesHaveCodesOfTheirOwn) {
  std::set<std::string_view> codes;
  for (const Rule& rule : rules()) EXPECT_TRUE(codes.insert(rule.code).second) << rule.code;
}

TEST(Analyze, OnlyTheOldestPeerAuthenticationCounts) {
  EXPECT_THAT(heads(analyze_text(shop() + peer("shop", "a", "{mtls: {mode: STRICT}}", 2025) +
                                 peer("shop", "b", "{mtls: {mode: PERMISSIVE}}", 2026))),
              ElementsAre("Warning WEFT0402 PeerAuthentication shop/a",
                          "Warning WEFT0402 PeerAuthentication shop/b"));
}

TEST(Analyze, SidecarsForTheSameWorkloads) {
  const auto sidecar = [](const std::string& name, const std::string& labels) {
    return "---\napiVersion: networking.istio.io/v1\nkind: Sidecar\nmetadata: {namespace: shop, "
           "name: " +
           name + "}\nspec: {" +
           (labels.empty() ? "" : "workloadSelector: {labels: {" + labels + "}}") + "}\n";
  };
  EXPECT_THAT(heads(analyze_text(shop() + sidecar("a", "") + sidecar("b", ""))),
              ElementsAre("Error IST0111 Sidecar shop/a", "Error IST0111 Sidecar shop/b"));
  EXPECT_THAT(heads(analyze_text(shop() + sidecar("a", "app: web") + sidecar("b", "app: web"))),
              ElementsAre("Error IST0110 Sidecar shop/a", "Error IST0110 Sidecar shop/b"));
  EXPECT_THAT(heads(analyze_text(shop() + sidecar("a", "app: web") + sidecar("b", ""))), IsEmpty());
}

TEST(Analyze, AnObjectThatIsThereTwice) {
  Input input;
  input.mistakes.emplace_back(Code::kInvalid, "Service/shop/web: is in a.yaml and again in b.yaml");
  const auto findings = analyze(input);
  EXPECT_THAT(heads(findings), ElementsAre("Error WEFT0002 Service shop/web"));
}

TEST(Analyze, WhatCouldNotBeReadIsNotMissing) {
  // A Deployment with a mistake: its Service and policy are not said to select nothing.
  const std::string broken =
      object("apps/v1", "Deployment", "namespace: shop, name: web",
             "spec: {selector: {matchLabels: {app: web}}, template: {metadata: {labels: {app: "
             "web}}, spec: {containers: [{name: c, prots: []}]}}}");
  EXPECT_THAT(heads(analyze_text(ns("shop") + broken + service("s", "app: web", "{port: 80}") +
                                 policy("shop", "p", "{selector: {matchLabels: {app: web}}}"))),
              ElementsAre("Error IST0106 Deployment shop/web"));
}

TEST(Analyze, PodsOfADeploymentThatIsThereAreNotJudgedAgain) {
  const std::string made =
      "---\napiVersion: v1\nkind: Pod\nmetadata: {namespace: shop, name: web-1-2, labels: {app: "
      "web}, ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: web-1, uid: "
      "u}]}\nspec: {hostNetwork: true, containers: [{name: c}]}\n";
  EXPECT_THAT(heads(analyze_text(shop() + made)), IsEmpty());
  EXPECT_THAT(heads(analyze_text(ns("shop", "istio.io/dataplane-mode: ambient") + made)),
              ElementsAre("Warning WEFT0302 Pod shop/web-1-2"));
}

TEST(Analyze, AnAnnotationSilencesCodes) {
  const auto with = [](const std::string& codes) {
    return heads(
        analyze_text(shop() +
                     "---\napiVersion: v1\nkind: Service\nmetadata: {namespace: shop, name: s, "
                     "annotations: {galley.istio.io/analyze-suppress: \"" +
                     codes + "\"}}\nspec: {selector: {app: x}, ports: [{port: 80}]}\n"));
  };
  EXPECT_THAT(with("IST0127"), IsEmpty());
  EXPECT_THAT(with("IST0001, IST0127"), IsEmpty());
  EXPECT_THAT(with("*"), IsEmpty());
  EXPECT_THAT(with("IST012"), ElementsAre("Warning IST0127 Service shop/s"));
}

TEST(Analyze, TheWorstComesFirst) {
  const auto findings =
      heads(analyze_text(shop() + ns("aaa", "istio-injection: enabled") +
                         policy("nowhere", "p", "{}") + service("s", "app: x", "{port: 80}")));
  EXPECT_THAT(findings,
              ElementsAre("Error IST0101 AuthorizationPolicy nowhere/p",
                          "Warning IST0127 Service shop/s", "Info WEFT0303 Namespace aaa"));
}

TEST(Analyze, IsWrittenAsOneLine) {
  const Finding finding{kSelectsNothing, "Service shop/web", "a \"quoted\" word"};
  EXPECT_EQ(to_json_line(finding),
            "{\"code\":\"IST0127\",\"level\":\"Warning\",\"origin\":\"Service shop/web\","
            "\"message\":\"a \\\"quoted\\\" word\"}");
  EXPECT_EQ(to_text_line(finding), "Warning [IST0127] (Service shop/web) a \"quoted\" word");
}

TEST(Analyze, HostileNamesStayOnTheirLine) {
  Input input;
  input.mistakes.emplace_back(Code::kInvalid, "a\nError [IST0101] (x) y: b\nc");
  const auto findings = analyze(input);
  ASSERT_EQ(findings.size(), 1U);
  EXPECT_THAT(to_text_line(findings.front()), Not(HasSubstr("\n")));
}

}  // namespace
}  // namespace weft::analyze
