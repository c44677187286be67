#include "tests/unit/agent/compile/manifests.h"

#include <gmock/gmock.h>

namespace weft::compile {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr const char* kUid = "Kubernetes//Pod/shop/web";

// The pod shop/web: `meta`, `spec` and `status` are more members of its maps.
std::string web(const std::string& meta, const std::string& spec = "",
                const std::string& status = "phase: Running, podIP: 10.0.0.1") {
  return "---\napiVersion: v1\nkind: Pod\nmetadata: {namespace: shop, name: web, " + meta +
         "}\nspec: {" + (spec.contains("containers:") ? "" : "containers: [{name: c}], ") + spec +
         "}\nstatus: {" + status + "}\n";
}

std::string compiled(const std::string& text, MeshConfig config = {}) {
  Compiler compiler(std::move(config));
  compiler.apply(changes_of(text));
  return body_of(compiler, kUid);
}

constexpr const char* kAmbient =
    "---\napiVersion: v1\nkind: Namespace\n"
    "metadata: {name: shop, labels: {istio.io/dataplane-mode: ambient}}\n";
constexpr const char* kCaptured = "annotations: {ambient.istio.io/redirection: enabled}";

TEST(Workload, EverythingThatIsKnownOfAPod) {
  const std::string text =
      std::string(kAmbient) +
      web("labels: {app: web, version: v2, pod-template-hash: 5d9c}, "
          "ownerReferences: [{kind: ReplicaSet, name: web-5d9c, controller: true}], " +
              std::string(kCaptured),
          "nodeName: node-1, serviceAccountName: seller, containers: [{name: c, ports: [{name: "
          "http, containerPort: 8080}]}]",
          "phase: Running, podIP: 10.0.0.1, podIPs: [{ip: 10.0.0.1}, {ip: \"fd00::1\"}], "
          "conditions: [{type: Ready, status: \"True\"}]") +
      "---\napiVersion: v1\nkind: Service\nmetadata: {namespace: shop, name: web}\n"
      "spec: {selector: {app: web}, clusterIP: 10.96.0.1, ports: [{name: a, port: 80, targetPort: "
      "http}, {name: b, port: 81, targetPort: none}, {name: c, port: 82}, {name: d, port: 53, "
      "protocol: UDP}]}\n" +
      policy("shop", "p", "{selector: {matchLabels: {app: web}}}");
  EXPECT_EQ(compiled(text, {.trust_domain = "corp.example"}),
            R"({"workload":{"name":"web","namespace":"shop","addresses":["CgAAAQ==",)"
            R"("/QAAAAAAAAAAAAAAAAAAAQ=="],"tunnelProtocol":"HBONE","trustDomain":"corp.example",)"
            R"("serviceAccount":"seller","node":"node-1","canonicalName":"web",)"
            R"("canonicalRevision":"v2","workloadName":"web","authorizationPolicies":["shop/p"],)"
            R"("clusterId":"Kubernetes","uid":"Kubernetes//Pod/shop/web",)"
            R"("services":{"shop/web.shop.svc.cluster.local":{"ports":[)"
            R"({"servicePort":80,"targetPort":8080},{"servicePort":82,"targetPort":82}]}}}})");
}

TEST(Workload, Defaults) {
  EXPECT_EQ(compiled(web("")),
            R"({"workload":{"name":"web","namespace":"shop","addresses":["CgAAAQ=="],)"
            R"("serviceAccount":"default","canonicalName":"web","canonicalRevision":"latest",)"
            R"("workloadType":"POD","workloadName":"web","clusterId":"Kubernetes",)"
            R"("uid":"Kubernetes//Pod/shop/web"}})");
}

TEST(Workload, HboneOnlyWhereCaptureIsLive) {
  const std::string captured = kCaptured;
  const std::pair<std::string, bool> kCases[] = {
      {kAmbient + web(captured), true},
      {kAmbient + web(""), false},
      {web(captured), false},  // its namespace is not known
      {web("labels: {istio.io/dataplane-mode: ambient}, " + captured), true},
      {kAmbient + web("labels: {istio.io/dataplane-mode: none}, " + captured), false},
      {kAmbient + web("annotations: {ambient.istio.io/redirection: disabled}"), false},
      {kAmbient + web(captured, "hostNetwork: true"), false},
  };
  for (const auto& [text, hbone] : kCases) {
    EXPECT_EQ(compiled(text).contains(R"("tunnelProtocol":"HBONE")"), hbone) << text;
  }
}

TEST(Workload, APodThatSpeaksHboneItself) {
  const std::pair<std::string, bool> kCases[] = {
      {web("labels: {networking.istio.io/tunnel: http}"), true},
      {web("labels: {networking.istio.io/tunnel: none}"), false},
      // Captured by its node, that answers for it, and not before that is so.
      {kAmbient + web("labels: {networking.istio.io/tunnel: http}"), false},
      {web("labels: {networking.istio.io/tunnel: http}", "hostNetwork: true"), false},
  };
  for (const auto& [text, native] : kCases) {
    const std::string workload = compiled(text);
    EXPECT_EQ(workload.contains(R"("tunnelProtocol":"HBONE")"), native) << text;
    EXPECT_EQ(workload.contains(R"("nativeTunnel":true)"), native) << text;
  }
}

TEST(Workload, ApplicationTunnel) {
  const auto bound = [](const std::string& to) {
    return compiled(web("annotations: {ambient.istio.io/waypoint-inbound-binding: '" + to + "'}"));
  };
  EXPECT_TRUE(
      bound("PROXY/15088").contains(R"("applicationTunnel":{"protocol":"PROXY","port":15088})"));
  EXPECT_TRUE(bound("PROXY").contains(R"("applicationTunnel":{"protocol":"PROXY"})"));
  EXPECT_TRUE(bound("NONE/8080").contains(R"("applicationTunnel":{"port":8080})"));
  for (const char* wrong : {"", "proxy", "PROXY/", "PROXY/0", "PROXY/65536", "PROXY/80 ", "/80"}) {
    EXPECT_FALSE(bound(wrong).contains("applicationTunnel")) << wrong;
  }
}

TEST(Workload, WhoIsAnnounced) {
  const std::pair<std::string, bool> kCases[] = {
      {web(""), true},
      {web("", "", "phase: Pending, podIP: 10.0.0.1"), true},
      {web("", "", "podIP: 10.0.0.1"), true},
      {web("", "", "podIPs: [{ip: 10.0.0.1}]"), true},
      {web("", "", "phase: Running"), false},
      {web("", "", "phase: Succeeded, podIP: 10.0.0.1"), false},
      {web("", "", "phase: Failed, podIP: 10.0.0.1"), false},
      {web("", "", "phase: Unknown, podIP: 10.0.0.1"), false},
      {web("deletionTimestamp: \"2026-01-01T00:00:00Z\""), true},
      {web("", "hostNetwork: true"), true},
  };
  for (const auto& [text, announced] : kCases)
    EXPECT_EQ(!compiled(text).empty(), announced) << text;
  EXPECT_THAT(compiled(web("", "hostNetwork: true")), HasSubstr(R"("networkMode":"HOST_NETWORK")"));
}

TEST(Workload, Health) {
  const std::pair<std::string, bool> kCases[] = {
      {"phase: Running, podIP: 10.0.0.1", true},
      {"phase: Pending, podIP: 10.0.0.1", false},
      {"phase: Running, podIP: 10.0.0.1, conditions: [{type: Ready, status: \"False\"}]", false},
      {"phase: Running, podIP: 10.0.0.1, conditions: [{type: Ready, status: Unknown}]", false},
      {"phase: Pending, podIP: 10.0.0.1, conditions: [{type: Ready, status: \"True\"}]", true},
      {"phase: Running, podIP: 10.0.0.1, conditions: [{type: PodScheduled, status: \"False\"}]",
       true},
  };
  for (const auto& [status, healthy] : kCases) {
    EXPECT_EQ(!compiled(web("", "", status)).contains("UNHEALTHY"), healthy) << status;
  }
}

TEST(Workload, CanonicalNames) {
  const std::tuple<const char*, const char*, const char*> kCases[] = {
      {"", "web", "latest"},
      {"app: a", "a", "latest"},
      {"app: a, app.kubernetes.io/name: b, version: v1", "b", "v1"},
      {"app: a, app.kubernetes.io/name: b, service.istio.io/canonical-name: c, version: v1, "
       "app.kubernetes.io/version: v2",
       "c", "v2"},
      {"version: v1, app.kubernetes.io/version: v2, service.istio.io/canonical-revision: v3", "web",
       "v3"},
  };
  for (const auto& [labels, name, revision] : kCases) {
    EXPECT_THAT(compiled(web(std::string("labels: {") + labels + "}")),
                HasSubstr(std::string(R"("canonicalName":")") + name +
                          R"(","canonicalRevision":")" + revision + "\""))
        << labels;
  }
}

TEST(Workload, Owners) {
  const std::tuple<const char*, const char*, const char*> kCases[] = {
      {"labels: {pod-template-hash: abc}, ownerReferences: [{kind: ReplicaSet, name: shop-abc}]",
       "shop", "DEPLOYMENT"},
      {"ownerReferences: [{kind: ReplicaSet, name: shop-abc}]", "web", "POD"},
      {"ownerReferences: [{kind: Deployment, name: shop}]", "shop", "DEPLOYMENT"},
      {"ownerReferences: [{kind: Job, name: report}]", "report", "JOB"},
      {"ownerReferences: [{kind: Job, name: report-29384756}]", "report", "CRONJOB"},
      {"ownerReferences: [{kind: Job, name: report-1}]", "report-1", "JOB"},
      {"ownerReferences: [{kind: StatefulSet, name: db}]", "web", "POD"},
      {"ownerReferences: [{kind: Job, name: a}, {kind: Deployment, name: b, controller: true}]",
       "b", "DEPLOYMENT"},
      {"", "web", "POD"},
  };
  for (const auto& [meta, name, type] : kCases) {
    const std::string body = compiled(web(meta));
    EXPECT_THAT(body, HasSubstr(std::string(R"("workloadName":")") + name + "\"")) << meta;
    // DEPLOYMENT is the enum's zero, which JSON leaves out.
    if (std::string_view(type) == "DEPLOYMENT") {
      EXPECT_THAT(body, Not(HasSubstr("workloadType"))) << meta;
    } else {
      EXPECT_THAT(body, HasSubstr(std::string(R"("workloadType":")") + type + "\"")) << meta;
    }
  }
}

TEST(Workload, TheOldServiceAccountFieldCounts) {
  EXPECT_THAT(compiled(web("", "serviceAccount: seller")),
              HasSubstr(R"("serviceAccount":"seller")"));
}

TEST(Workload, PoliciesOfItsOwnAndOfTheRootNamespace) {
  const std::string text =
      web("labels: {app: web, tier: front}") +
      policy("shop", "by-app", "{selector: {matchLabels: {app: web}}}") +
      policy("shop", "by-both", "{selector: {matchLabels: {app: web, tier: front}}}") +
      policy("shop", "every", "{selector: {}}") +
      policy("shop", "other", "{selector: {matchLabels: {app: order}}}") +
      policy("shop", "more", "{selector: {matchLabels: {app: web, x: z}}}") +
      policy("shop", "whole", "{}") +
      policy("shop", "audit",
             "{action: AUDIT, selector: {matchLabels: {app: web}}, rules: "
             "[{}]}") +
      policy("bank", "elsewhere", "{selector: {matchLabels: {app: web}}}") +
      policy("istio-system", "root", "{selector: {matchLabels: {app: web}}}") +
      peer("shop", "strict", "{mtls: {mode: STRICT}}");
  EXPECT_THAT(compiled(text),
              HasSubstr(R"("authorizationPolicies":["istio-system/istio_converted_static_strict",)"
                        R"("istio-system/root","shop/by-app","shop/by-both","shop/every"])"));
}

TEST(Service, AsItIsAnnounced) {
  const auto service = [](const std::string& spec, const std::string& annotations = "") {
    Compiler compiler({.cluster_domain = "cluster.example"});
    compiler.apply(
        changes_of("apiVersion: v1\nkind: Service\nmetadata: {namespace: shop, name: "
                   "web, annotations: {" +
                   annotations + "}}\nspec: {" + spec + "}\n"));
    return body_of(compiler, "shop/web.shop.svc.cluster.example");
  };
  const std::string head = R"({"service":{"name":"web","namespace":"shop",)"
                           R"("hostname":"web.shop.svc.cluster.example",)";
  EXPECT_EQ(service("clusterIP: 10.96.0.1, clusterIPs: [10.96.0.1, \"fd00::1\"], ipFamilies: "
                    "[IPv4, IPv6], ports: [{name: a, port: 80, targetPort: 8080}, {name: b, port: "
                    "81, targetPort: http}, {name: c, port: 82}, {name: d, port: 82, protocol: "
                    "UDP}]"),
            head +
                R"("addresses":[{"address":"CmAAAQ=="},{"address":"/QAAAAAAAAAAAAAAAAAAAQ=="}],)"
                R"("ports":[{"servicePort":80,"targetPort":8080,"name":"a"},)"
                R"({"servicePort":81,"name":"b"},{"servicePort":82,"targetPort":82,"name":"c"}],)"
                R"("ipFamilies":"DUAL","canonical":true}})");
  EXPECT_EQ(service("clusterIP: None"), head + R"("canonical":true}})");
  EXPECT_EQ(service("ports: [{port: 80}]"),
            head + R"("ports":[{"servicePort":80,"targetPort":80}],"canonical":true}})");
  EXPECT_EQ(service("type: ExternalName, externalName: example.org"),
            head + R"("canonical":true,"externalName":"example.org"}})");
  EXPECT_THAT(service("clusterIP: None, publishNotReadyAddresses: true"),
              HasSubstr(R"("loadBalancing":{"healthPolicy":"ALLOW_ALL"})"));
  EXPECT_THAT(service("clusterIP: None, internalTrafficPolicy: Local"),
              HasSubstr(R"("loadBalancing":{"routingPreference":["NODE"],"mode":"STRICT"})"));
  const char* zone =
      R"("loadBalancing":{"routingPreference":["NETWORK","REGION","ZONE"],"mode":"FAILOVER"})";
  EXPECT_THAT(service("clusterIP: None, trafficDistribution: PreferClose"), HasSubstr(zone));
  EXPECT_THAT(service("clusterIP: None", "networking.istio.io/traffic-distribution: PreferClose"),
              HasSubstr(zone));
}

TEST(Service, SelectsInItsOwnNamespaceOnly) {
  const auto with_service = [](const std::string& ns, const std::string& selector) {
    return compiled(web("labels: {app: web}") +
                    "---\napiVersion: v1\nkind: Service\nmetadata: {namespace: " + ns +
                    ", name: s}\nspec: {selector: {" + selector + "}, ports: [{port: 80}]}\n")
        .contains("\"services\"");
  };
  EXPECT_TRUE(with_service("shop", "app: web"));
  EXPECT_FALSE(with_service("shop", "app: other"));
  EXPECT_FALSE(with_service("bank", "app: web"));
  EXPECT_FALSE(with_service("shop", ""));  // without a selector: somebody else's endpoints
}

TEST(Enrolment, WhoIsToBeInTheMesh) {
  const auto enrolled = [](const std::string& pod_text, const char* ns_labels) {
    const auto pod = changes_of(pod_text);
    const auto* message = pod[0].object->as<crd::core::Pod>();
    if (ns_labels == nullptr) return is_to_be_enrolled(*message, nullptr);
    const auto ns = changes_of(
        std::string("apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, labels: {") +
        ns_labels + "}}");
    return is_to_be_enrolled(*message, ns[0].object->as<crd::core::Namespace>());
  };
  const std::string ambient = "labels: {istio.io/dataplane-mode: ambient}";
  const char* by_ns = "istio.io/dataplane-mode: ambient";
  const char* injected = "istio-injection: enabled";
  const std::tuple<std::string, const char*, bool> kCases[] = {
      {web(""), nullptr, false},
      {web(""), "", false},
      {web(""), by_ns, true},
      {web(""), injected, true},
      {web(""), "istio-injection: disabled", false},
      {web(""), "istio-injection: enabled, istio.io/dataplane-mode: none", false},
      {web(""), "istio.io/dataplane-mode: other", false},
      {web(ambient), nullptr, true},
      {web(ambient), "istio.io/dataplane-mode: none", true},
      {web("labels: {istio.io/dataplane-mode: none}"), by_ns, false},
      {web("labels: {istio.io/dataplane-mode: other}"), by_ns, true},
      {web(ambient, "hostNetwork: true"), by_ns, false},
      {web(ambient, "containers: [{name: c}, {name: istio-proxy}]"), by_ns, false},
      {web("", "initContainers: [{name: istio-proxy}]"), injected, false},
      {web("labels: {sidecar.istio.io/inject: \"true\"}"), by_ns, true},
      {web("annotations: {sidecar.istio.io/inject: \"true\"}"), injected, true},
      {web("labels: {sidecar.istio.io/inject: \"true\"}"), "", false},
      {web("labels: {sidecar.istio.io/inject: \"true\"}", "containers: [{name: istio-proxy}]"),
       injected, false},
      {web("labels: {sidecar.istio.io/inject: \"false\"}"), injected, false},
      {web("labels: {sidecar.istio.io/inject: \"false\"}"), by_ns, true},
  };
  for (const auto& [text, ns, expected] : kCases) {
    EXPECT_EQ(enrolled(text, ns), expected) << text << (ns == nullptr ? "(unknown)" : ns);
  }
}

}  // namespace
}  // namespace weft::compile
