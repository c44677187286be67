#include "tests/unit/agent/compile/manifests.h"

#include <gmock/gmock.h>

namespace weft::compile {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

std::string service(const std::string& spec, const std::string& meta = "") {
  return "---\napiVersion: v1\nkind: Service\nmetadata: {namespace: shop, name: web, " + meta +
         "}\nspec: {" + spec + "}\n";
}

std::string compiled(const std::string& text,
                     const std::string& name = "shop/web.shop.svc.cluster.local") {
  Compiler compiler({});
  compiler.apply(changes_of(text));
  return body_of(compiler, name);
}

constexpr const char* kPort = "clusterIP: 10.96.0.1, ports: [{port: 80}]";

// What a field of the Service becomes.
TEST(ServiceFields, BecomeWhatZtunnelDoes) {
  const std::string port = std::string(kPort) + ", ";
  const std::string annotation = "annotations: {networking.istio.io/traffic-distribution: ";
  const struct {
    std::string text;
    std::string expected;
  } kRows[] = {
      {service(port + "trafficDistribution: PreferClose"),
       R"("loadBalancing":{"routingPreference":["NETWORK","REGION","ZONE"],"mode":"FAILOVER"})"},
      {service(port + "trafficDistribution: PreferSameZone"),
       R"(["NETWORK","REGION","ZONE"],"mode":"FAILOVER")"},
      {service(port + "trafficDistribution: PreferSameNode"),
       R"(["NETWORK","REGION","ZONE","SUBZONE","NODE"],"mode":"FAILOVER")"},
      {service(kPort, annotation + "PreferSameNode}"),
       R"(["NETWORK","REGION","ZONE","SUBZONE","NODE"],"mode":"FAILOVER")"},
      {service(port + "trafficDistribution: PreferClose", annotation + "PreferSameNode}"),
       R"(["NETWORK","REGION","ZONE"],"mode":"FAILOVER")"},
      {service(port + "internalTrafficPolicy: Local"),
       R"("loadBalancing":{"routingPreference":["NODE"],"mode":"STRICT"})"},
      {service(port + "publishNotReadyAddresses: true"),
       R"("loadBalancing":{"healthPolicy":"ALLOW_ALL"})"},
      {service(port + "sessionAffinity: ClientIP"),
       R"("sessionAffinity":{"clientIpTimeoutS":10800})"},
      {service(port + "sessionAffinity: ClientIP, sessionAffinityConfig: {clientIP: "
                      "{timeoutSeconds: 60}}"),
       R"("sessionAffinity":{"clientIpTimeoutS":60})"},
      {service("type: ExternalName, externalName: db.example.org"),
       R"("externalName":"db.example.org")"},
      {service(kPort, "annotations: {networking.istio.io/exportTo: \".\"}"),
       R"("visibility":"NAMESPACE")"},
      {service("clusterIP: None, ports: [{name: http, port: 80}, {name: dns, port: 53, protocol: "
               "UDP}]"),
       R"("ports":[{"servicePort":80,"targetPort":80,"name":"http"}])"},
  };
  for (const auto& row : kRows)
    EXPECT_THAT(compiled(row.text), HasSubstr(row.expected)) << row.text;
  EXPECT_THAT(compiled(service(port + "sessionAffinity: None")), Not(HasSubstr("sessionAffinity")));
  EXPECT_THAT(compiled(service("clusterIP: None")), Not(HasSubstr("addresses")));
}

const std::string kPod = "Kubernetes//Pod/shop/web";

TEST(Locality, IsTheNodesUnlessThePodSaysAnother) {
  const std::string node =
      "---\napiVersion: v1\nkind: Node\nmetadata: {name: node-1, labels: "
      "{topology.kubernetes.io/region: eu, topology.kubernetes.io/zone: west, "
      "topology.istio.io/subzone: r1}}\n";
  EXPECT_THAT(compiled(pod("shop", "web", "", "10.0.0.1"), kPod), Not(HasSubstr("locality")));
  EXPECT_THAT(compiled(node + pod("shop", "web", "", "10.0.0.1"), kPod),
              HasSubstr(R"("locality":{"region":"eu","zone":"west","subzone":"r1"})"));
  EXPECT_THAT(compiled(node + pod("shop", "web", "istio-locality: us.east", "10.0.0.1"), kPod),
              HasSubstr(R"("locality":{"region":"us","zone":"east"})"));
}

TEST(TerminatingPod, IsUnhealthyAndMayStillServe) {
  const auto leaving = [](const std::string& ready) {
    return compiled(
        "apiVersion: v1\nkind: Pod\nmetadata: {namespace: shop, name: web, "
        "deletionTimestamp: \"2026-01-01T00:00:00Z\"}\nspec: {containers: [{name: "
        "c}]}\nstatus: {phase: Running, podIP: 10.0.0.1, conditions: [{type: Ready, "
        "status: \"" +
            ready + "\"}]}\n",
        kPod);
  };
  EXPECT_THAT(leaving("True"), HasSubstr("UNHEALTHY"));
  EXPECT_THAT(leaving("True"), HasSubstr(R"("servingWhileTerminating":true)"));
  EXPECT_THAT(leaving("False"), Not(HasSubstr("servingWhileTerminating")));
}

TEST(Pod, ItsOwnNameBelowAHeadlessServiceIsTold) {
  EXPECT_THAT(
      compiled(pod("shop", "web", "", "10.0.0.1", "hostname: web-0, subdomain: peers, "), kPod),
      HasSubstr(R"("podHostname":"web-0","podSubdomain":"peers")"));
}

TEST(EndpointSlice, IsForServicesWithoutASelector) {
  const std::string slice =
      "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {namespace: shop, "
      "name: "
      "web-1, labels: {kubernetes.io/service-name: web}}\naddressType: IPv4\nports: [{name: http, "
      "port: 8080}]\nendpoints:\n- {addresses: [10.7.0.1], nodeName: node-1, zone: west}\n- "
      "{addresses: [10.7.0.2], conditions: {ready: false, serving: true, terminating: true}}\n";
  const std::string uid = "Kubernetes/discovery.k8s.io/EndpointSlice/shop/web-1/10.7.0.";
  const std::string ports = "ports: [{name: http, port: 80}]";
  Compiler compiler({});
  compiler.apply(changes_of(slice));
  EXPECT_THAT(compiler.all(), IsEmpty());
  compiler.apply(changes_of(service(ports)));
  EXPECT_THAT(body_of(compiler, uid + "1"),
              HasSubstr(R"("services":{"shop/web.shop.svc.cluster.local":{"ports":[)"
                        R"({"servicePort":80,"targetPort":8080}]}},"locality":{"zone":"west"}})"));
  EXPECT_THAT(body_of(compiler, uid + "2"), HasSubstr("servingWhileTerminating"));
  compiler.apply(changes_of(service("selector: {app: web}, " + ports)));
  EXPECT_EQ(body_of(compiler, uid + "1"), "") << "its pods are the endpoints now";
}

std::string sidecar(const std::string& ns, const std::string& spec) {
  return "---\napiVersion: networking.istio.io/v1\nkind: Sidecar\nmetadata: {namespace: " + ns +
         ", name: s" + std::to_string(spec.size()) + "}\nspec: {" + spec + "}\n";
}

std::string mesh(const std::string& text, const std::string& ns = "istio-system") {
  return "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {namespace: " + ns +
         ", name: istio}\ndata:\n  mesh: |\n    " + text + "\n";
}

TEST(OutboundPolicy, TheNearestDecides) {
  const std::string web = pod("shop", "web", "app: web", "10.0.0.1");
  const std::string only = "outboundTrafficPolicy: {mode: REGISTRY_ONLY}";
  const std::string any = "outboundTrafficPolicy: {mode: ALLOW_ANY}";
  const std::string by_label = "workloadSelector: {labels: {app: web}}, ";
  const struct {
    std::string text;
    bool registry_only;
  } kRows[] = {
      {"", false},
      {mesh(only), true},
      {mesh(any), false},
      {mesh(only, "shop"), false},
      {mesh(only) + sidecar("shop", any), false},
      {mesh(any) + sidecar("shop", only), true},
      {mesh(any) + sidecar("bank", only), false},
      {mesh(any) + sidecar("istio-system", only), true},
      {sidecar("istio-system", only) + sidecar("shop", any), false},
      {sidecar("shop", only) + sidecar("shop", by_label + any), false},
      {sidecar("shop", any) + sidecar("shop", by_label + only), true},
      {mesh(only) + sidecar("shop", "egress: [{hosts: [\"*/*\"]}]"), true},
      {sidecar("shop", "outboundTrafficPolicy: {}"), true},
  };
  for (const auto& row : kRows) {
    const std::string body = compiled(web + row.text, kPod);
    EXPECT_EQ(body.contains("\"registryOnly\":true"), row.registry_only) << row.text;
  }
}

TEST(MeshConfig, ChangesLiveAndGoes) {
  Compiler compiler({});
  compiler.apply(changes_of(pod("shop", "web", "app: web", "10.0.0.1")));
  const auto now = [&] { return body_of(compiler, kPod).contains("registryOnly"); };
  EXPECT_FALSE(now());
  EXPECT_THAT(
      steps(compiler.apply(changes_of(mesh("outboundTrafficPolicy: {mode: REGISTRY_ONLY}")))),
      ElementsAre("+Kubernetes//Pod/shop/web"));
  EXPECT_TRUE(now());
  compiler.apply({removal("ConfigMap", "istio-system", "istio")});
  EXPECT_FALSE(now());
  compiler.apply(changes_of(mesh("trustDomain: other.example")));
  EXPECT_THAT(warnings(compiler), ElementsAre(HasSubstr("control runs with --trust-domain")));
}

}  // namespace
}  // namespace weft::compile
