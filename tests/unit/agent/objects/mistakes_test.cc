#include "agent/objects/object.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace weft::objects {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

std::vector<std::string> mistakes(std::string_view text, std::string_view origin = "file.yaml") {
  std::vector<std::string> messages;
  for (const Error& error : parse_manifests(text, origin).errors) {
    EXPECT_NE(error.code, Code::kInternal);
    messages.push_back(error.to_string());
  }
  return messages;
}

std::vector<std::string> policy_mistakes(const std::string& spec) {
  return mistakes(
      "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\n"
      "metadata: {name: p, namespace: shop}\nspec: " +
      spec);
}

std::vector<std::string> peer_mistakes(const std::string& spec) {
  return mistakes(
      "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\n"
      "metadata: {name: p, namespace: shop}\nspec: " +
      spec);
}

std::vector<std::string> service_mistakes(const std::string& spec) {
  return mistakes("apiVersion: v1\nkind: Service\nmetadata: {name: web, namespace: shop}\nspec: " +
                  spec);
}

std::vector<std::string> pod_mistakes(const std::string& spec) {
  return mistakes("apiVersion: v1\nkind: Pod\nmetadata: {name: web, namespace: shop}\nspec: " +
                  spec);
}

TEST(Mistakes, EveryOneOfADocumentIsNamedOnce) {
  EXPECT_THAT(
      policy_mistakes(R"({action: DENI, selecter: {}, rules: [
          {from: [{source: {principal: [a]}}],
           to: [{operation: {ports: [8080], methods: GET}}],
           when: [{key: source.ipp, values: [a]}]}]})"),
      ElementsAre(
          "AuthorizationPolicy/shop/p: spec.action: unknown value \"DENI\" (did you mean DENY?); "
          "expected one of ALLOW, DENY, AUDIT, CUSTOM",
          "AuthorizationPolicy/shop/p: spec.selecter: unknown field (did you mean selector?); "
          "expected one of selector, targetRef, targetRefs, action, rules, provider",
          "AuthorizationPolicy/shop/p: spec.rules[0].from[0].source.principal: unknown field (did "
          "you mean principals?); expected one of principals, notPrincipals, requestPrincipals, "
          "notRequestPrincipals, namespaces, notNamespaces, serviceAccounts, notServiceAccounts, "
          "ipBlocks, notIpBlocks, remoteIpBlocks, notRemoteIpBlocks, trustDomains, "
          "notTrustDomains",
          "AuthorizationPolicy/shop/p: spec.rules[0].to[0].operation.ports[0]: expected a string, "
          "got the number 8080; write it in quotes: \"8080\"",
          "AuthorizationPolicy/shop/p: spec.rules[0].to[0].operation.methods: expected a list, got "
          "\"GET\"",
          "AuthorizationPolicy/shop/p: spec.rules[0].when[0].key: unknown key \"source.ipp\" (did "
          "you mean source.ip?); expected one of source.ip, remote.ip, source.namespace, "
          "source.serviceAccount, source.trustDomain, source.principal, destination.ip, "
          "destination.port, connection.sni, request.auth.principal, request.auth.audiences, "
          "request.auth.presenter, request.headers[..], request.auth.claims[..]"));
}

TEST(Mistakes, OfADocumentAsSuch) {
  EXPECT_THAT(mistakes("a: [1\n"), ElementsAre(HasSubstr("file.yaml: line ")));
  EXPECT_THAT(mistakes("- a\n- b\n"),
              ElementsAre("file.yaml: line 1: expected an object, got a list"));
  EXPECT_THAT(mistakes("apiVersion: v1\n"),
              ElementsAre("file.yaml: line 1: kind: missing; expected a string"));
  EXPECT_THAT(mistakes("\n\napiVersion: v1\nkind: Pdo\nmetadata: {name: x}\n"),
              ElementsAre("file.yaml: line 3: \"x\": kind: unknown kind \"Pdo\" of v1 (did you "
                          "mean Pod?)"));
  EXPECT_THAT(mistakes("kind: Pod\nmetadata: {name: x}\n"),
              ElementsAre("file.yaml: line 1: \"x\": apiVersion: unknown version \"\"; expected "
                          "one of v1"));
  EXPECT_THAT(mistakes("apiVersion: networking.istio.io/v2\nkind: Gateway\nmetadata: {name: x}\n"),
              ElementsAre("file.yaml: line 1: \"x\": apiVersion: unknown version "
                          "\"networking.istio.io/v2\"; expected one of networking.istio.io/v1, "
                          "networking.istio.io/v1beta1, networking.istio.io/v1alpha3, "
                          "gateway.networking.k8s.io/v1, gateway.networking.k8s.io/v1beta1"));
  EXPECT_THAT(mistakes("{\"kind\": ", "x.json"), ElementsAre(HasSubstr("x.json: not JSON: ")));
}

TEST(Mistakes, OfMetadata) {
  EXPECT_THAT(mistakes("apiVersion: v1\nkind: Namespace\n"),
              ElementsAre("Namespace/(no name): metadata: missing; expected a map"));
  EXPECT_THAT(mistakes("apiVersion: v1\nkind: ConfigMap\nmetadata: {generateName: a-}\n"),
              ElementsAre("ConfigMap/default/a-: metadata.name: missing; expected a string"));
  EXPECT_THAT(mistakes("apiVersion: v1\nkind: Namespace\nmetadata: {name: Shop, namespace: x}\n"),
              ElementsAre("Namespace/Shop: metadata.namespace: expected none: the kind has no "
                          "namespace",
                          "Namespace/Shop: metadata.name: expected at most 63 lower case letters, "
                          "digits and '-', a letter or digit at both ends, got \"Shop\""));
  EXPECT_THAT(
      mistakes("apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: a, uid: ../b,\n"
               "  creationTimestamp: yesterday, labels: {app: \"a b\", \"-\": x, n: 1}}\n"),
      testing::UnorderedElementsAre(
          "ServiceAccount/default/a: metadata.labels[n]: expected a string, got the number 1; "
          "write it in quotes: \"1\"",
          "ServiceAccount/default/a: metadata.uid: expected at most 128 letters, digits, '-', '_' "
          "and '.'",
          "ServiceAccount/default/a: metadata.creationTimestamp: expected a time such as "
          "2026-01-31T12:00:00Z",
          "ServiceAccount/default/a: metadata.labels[app]: expected at most 63 letters, digits, "
          "'-', '_' and '.', a letter or digit at both ends, got \"a b\"",
          "ServiceAccount/default/a: metadata.labels[-]: expected a label's name, with or without "
          "\"prefix/\", got \"-\""));
}

TEST(Mistakes, ANameCannotForgeALine) {
  const auto messages =
      mistakes("apiVersion: v1\nkind: Namespace\nmetadata: {name: \"a\\nPod/b: fine\"}\n");
  ASSERT_EQ(messages.size(), 1u);
  EXPECT_THAT(messages[0], testing::Not(HasSubstr("\n")));
}

TEST(Mistakes, DuplicateKeys) {
  EXPECT_THAT(
      mistakes("apiVersion: v1\nkind: Namespace\nkind: Pod\nmetadata: {name: a, name: b}\n"),
      ElementsAre("Namespace/a: kind: written twice", "Namespace/a: metadata.name: written twice"));
  EXPECT_THAT(mistakes("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n"
                       "data: {x: a, x: b}\n"),
              ElementsAre("ConfigMap/default/a: data[x]: written twice"));
  EXPECT_THAT(
      mistakes(R"({"apiVersion":"networking.istio.io/v1alpha3","kind":"EnvoyFilter",)"
               R"("metadata":{"name":"a"},)"
               R"("spec":{"configPatches":[{"patch":{"value":{"y":1,"y":2}}}]}})"),
      ElementsAre("EnvoyFilter/default/a: spec.configPatches[0].patch.value.y: written twice"));
}

TEST(Mistakes, OfTypes) {
  EXPECT_THAT(pod_mistakes("{containers: [{name: c, command: run, env: [{name: A, value: yes}],"
                           " ports: [{containerPort: \"80\"}, {containerPort: -1}]}],"
                           " hostNetwork: \"true\", nodeSelector: [a]}"),
              ElementsAre("Pod/shop/web: spec.containers[0].command: expected a list, got \"run\"",
                          "Pod/shop/web: spec.containers[0].env[0].value: expected a string, got "
                          "the boolean true; write it in quotes: \"yes\"",
                          "Pod/shop/web: spec.containers[0].ports[0].containerPort: expected a "
                          "whole number from 0 to 4294967295, got \"80\"",
                          "Pod/shop/web: spec.containers[0].ports[1].containerPort: expected a "
                          "whole number from 0 to 4294967295, got the number -1",
                          "Pod/shop/web: spec.hostNetwork: expected true or false, got \"true\"",
                          "Pod/shop/web: spec.nodeSelector: expected a map, got a list"));
  EXPECT_THAT(pod_mistakes("[]"), ElementsAre("Pod/shop/web: spec: expected a map, got a list"));
  EXPECT_THAT(pod_mistakes("{containers: [null]}"),
              ElementsAre("Pod/shop/web: spec.containers[0]: expected a map, got nothing"));
}

TEST(Mistakes, OfPods) {
  EXPECT_THAT(pod_mistakes("{}"),
              ElementsAre("Pod/shop/web: spec.containers: missing; expected a list"));
  EXPECT_THAT(pod_mistakes("{containers: []}"),
              ElementsAre("Pod/shop/web: spec.containers: must not be empty: leave it out, or give "
                          "it an element"));
  EXPECT_THAT(
      pod_mistakes("{containers: [{name: a, ports: [{containerPort: 0}]}, {name: a}],"
                   " serviceAccountName: a, serviceAccount: b, restartPolicy: always}\n"
                   "status: {phase: Runing, podIP: 10.0.0.300}"),
      ElementsAre("Pod/shop/web: spec.restartPolicy: unknown value \"always\" (did you mean "
                  "Always?); expected one of Always, OnFailure, Never",
                  "Pod/shop/web: status.phase: unknown value \"Runing\" (did you mean Running?); "
                  "expected one of Pending, Running, Succeeded, Failed, Unknown",
                  "Pod/shop/web: spec.serviceAccount: differs from serviceAccountName",
                  "Pod/shop/web: spec.containers[0].ports[0].containerPort: expected a port from 1 "
                  "to 65535, got 0",
                  "Pod/shop/web: spec.containers[1].name: \"a\" is the name of another container "
                  "too",
                  "Pod/shop/web: status.podIP: expected an IP address, got \"10.0.0.300\""));
}

TEST(Mistakes, OfDeployments) {
  EXPECT_THAT(mistakes("apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\n"
                       "spec: {replicas: -1, selector: {matchLabels: {app: web}},\n"
                       "  template: {metadata: {labels: {app: wbe}},\n"
                       "    spec: {containers: [{name: c, imagee: x}]}}}\n"),
              ElementsAre("Deployment/default/web: spec.replicas: expected a whole number from 0 "
                          "to 4294967295, got the number -1",
                          HasSubstr("spec.template.spec.containers[0].imagee: unknown field (did "
                                    "you mean image?); expected one of name, image, command"),
                          "Deployment/default/web: spec.selector.matchLabels[app]: the pods do not "
                          "have this label: spec.template.metadata.labels must contain app: web"));
}

TEST(Mistakes, OfServices) {
  EXPECT_THAT(service_mistakes("{ports: [{name: a, port: 0}, {name: a, port: 80, targetPort: "
                               "70000}, {port: 80, targetPort: \"8080\"}], clusterIP: none}"),
              ElementsAre("Service/shop/web: spec.ports[0].port: expected a port from 1 to 65535, "
                          "got 0",
                          "Service/shop/web: spec.ports[1].targetPort: expected a port from 1 to "
                          "65535 or the name of a container's port",
                          "Service/shop/web: spec.ports[1].name: \"a\" is the name of another port "
                          "too",
                          "Service/shop/web: spec.ports[2].targetPort: as the name of a "
                          "container's port: expected at most 15 lower case letters, digits and "
                          "'-', with a letter, got \"8080\"",
                          "Service/shop/web: spec.ports[2].port: 80/TCP is another port of it too",
                          "Service/shop/web: spec.ports[2].name: missing; expected a name, as "
                          "there is more than one port",
                          "Service/shop/web: spec.clusterIP: expected an IP address or None, got "
                          "\"none\""));
  EXPECT_THAT(service_mistakes("{selector: {app: web}}"),
              ElementsAre("Service/shop/web: spec.ports: missing; expected a list, as the Service "
                          "is not headless"));
  EXPECT_THAT(service_mistakes("{type: ExternalName}"),
              ElementsAre("Service/shop/web: spec.externalName: missing; expected a host name"));
  EXPECT_THAT(service_mistakes("{clusterIP: None}"), IsEmpty());
  EXPECT_THAT(service_mistakes("{ports: [{name: dns, port: 53, protocol: UDP}, {name: dns-tcp, "
                               "port: 53, targetPort: dns}]}"),
              IsEmpty());
}

TEST(Mistakes, OfAuthorizationPolicies) {
  const std::string before = "AuthorizationPolicy/shop/p: spec.";
  const std::pair<const char*, std::string> kCases[] = {
      {"{action: DENY}", "rules: missing; expected a list, as the action is DENY"},
      {"{action: CUSTOM, rules: [{}]}",
       "provider: missing; expected a map, as the action is CUSTOM"},
      {"{action: CUSTOM, provider: {}, rules: [{}]}", "provider.name: missing; expected a string"},
      {"{provider: {name: x}}", "provider: expected only with the action CUSTOM"},
      {"{rules: [{from: []}]}",
       "rules[0].from: must not be empty: leave it out, or give it an element"},
      {"{rules: [{from: [{}]}]}", "rules[0].from[0].source: missing; expected a map"},
      {"{rules: [{from: [{source: {}}]}]}",
       "rules[0].from[0].source: must not be empty: leave \"from\" out to match every source"},
      {"{rules: [{to: [{operation: {ports: []}}]}]}",
       "rules[0].to[0].operation: must not be empty: leave \"to\" out to match every operation"},
      {"{rules: [{to: [{operation: {ports: [\"80-90\"]}}]}]}",
       "rules[0].to[0].operation.ports[0]: expected a port from 1 to 65535, got \"80-90\""},
      {"{rules: [{from: [{source: {ipBlocks: [10.0.0.0/33]}}]}]}",
       "rules[0].from[0].source.ipBlocks[0]: expected an IP address or CIDR, got \"10.0.0.0/33\""},
      {"{rules: [{from: [{source: {principals: [\"spiffe://td/ns/a/sa/b\"]}}]}]}",
       "rules[0].from[0].source.principals[0]: expected <trust domain>/ns/<namespace>/sa/<service "
       "account> without spiffe://, got \"spiffe://td/ns/a/sa/b\""},
      {"{rules: [{from: [{source: {principals: [\"td/*/a\"]}}]}]}",
       "rules[0].from[0].source.principals[0]: expected * only alone, at the beginning or at the "
       "end, got \"td/*/a\""},
      {"{rules: [{from: [{source: {namespaces: [\"\"]}}]}]}",
       "rules[0].from[0].source.namespaces[0]: must not be empty"},
      {"{rules: [{from: [{source: {serviceAccounts: [a], namespaces: [b]}}]}]}",
       "rules[0].from[0].source.serviceAccounts: cannot stand beside principals or namespaces"},
      {"{rules: [{from: [{source: {serviceAccounts: [\"*\"]}}]}]}",
       "rules[0].from[0].source.serviceAccounts[0]: expected <service account> or "
       "<namespace>/<service account>, got \"*\""},
      {"{rules: [{when: [{values: [a]}]}]}", "rules[0].when[0].key: missing; expected a string"},
      {"{rules: [{when: [{key: source.ip}]}]}", "rules[0].when[0]: expected values or notValues"},
      {"{rules: [{when: [{key: destination.port, notValues: [http]}]}]}",
       "rules[0].when[0].notValues[0]: expected a port from 1 to 65535, got \"http\""},
      {"{selector: {matchLabels: {a: b}}, targetRef: {kind: Service, name: x}}",
       "targetRef: cannot stand beside selector"},
      {"{targetRefs: [{kind: Pod, name: x}]}",
       "targetRefs[0].kind: expected Service, gateway.networking.k8s.io/Gateway, "
       "gateway.networking.k8s.io/GatewayClass or networking.istio.io/ServiceEntry, got \"Pod\""},
      {"{targetRefs: [{kind: Service, name: x, namespace: other}]}",
       "targetRefs[0].namespace: expected the policy's own namespace, got \"other\""},
      {"{selector: {matchExpressions: []}}",
       "selector.matchExpressions: unknown field; expected one of matchLabels"},
  };
  for (const auto& [spec, expected] : kCases) {
    EXPECT_THAT(policy_mistakes(spec), ElementsAre(before + expected)) << spec;
  }
  for (const char* spec :
       {"", "{}", "{rules: []}", "{rules: [{}]}", "{action: DENY, rules: [{}]}",
        "{rules: [{when: [{key: \"request.headers[x]\", values: [a]}]}]}",
        "{rules: [{when: [{key: \"request.auth.claims[a][b]\", notValues: [a]}]}]}",
        "{rules: [{from: [{source: {serviceAccounts: [a, b/c]}}]}]}",
        "{rules: [{from: [{source: {principals: [\"*\", \"a*\", \"*a\", \"a/ns/b/sa/c\"]}}]}]}"}) {
    EXPECT_THAT(policy_mistakes(spec), IsEmpty()) << spec;
  }
}

TEST(Mistakes, OfPeerAuthentications) {
  const std::string before = "PeerAuthentication/shop/p: spec.";
  const std::pair<const char*, std::string> kCases[] = {
      {"{mtls: {mode: strict}}",
       "mtls.mode: unknown value \"strict\" (did you mean STRICT?); expected one of UNSET, "
       "DISABLE, PERMISSIVE, STRICT"},
      {"{portLevelMtls: {80: {mode: STRICT}}}",
       "portLevelMtls: expected only with selector.matchLabels"},
      {"{selector: {matchLabels: {a: b}}, portLevelMtls: {}}",
       "portLevelMtls: must not be empty: leave it out, or give it an entry"},
      {"{selector: {matchLabels: {a: b}}, portLevelMtls: {70000: {mode: STRICT}}}",
       "portLevelMtls[70000]: expected a port from 1 to 65535"},
      {"{selector: {matchLabels: {a: b}}, portLevelMtls: {http: {mode: STRICT}}}",
       "portLevelMtls[http]: expected a whole number from 0 to 4294967295, got \"http\""},
      {"{selector: {matchLabels: {a: \"*\"}}}",
       "selector.matchLabels[a]: expected at most 63 letters, digits, '-', '_' and '.', a letter "
       "or digit at both ends, got \"*\""},
  };
  for (const auto& [spec, expected] : kCases) {
    EXPECT_THAT(peer_mistakes(spec), ElementsAre(before + expected)) << spec;
  }
  EXPECT_THAT(peer_mistakes("{mtls: {mode: STRICT}}"), IsEmpty());
  EXPECT_THAT(peer_mistakes("{selector: {matchLabels: {a: b}}, portLevelMtls: {8080: {mode: "
                            "DISABLE}}}"),
              IsEmpty());
}

TEST(Mistakes, AreBounded) {
  std::string text = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec:\n  containers: []\n";
  for (int i = 0; i < 1000; ++i) text += "  field" + std::to_string(i) + ": 1\n";
  const auto messages = mistakes(text);
  EXPECT_EQ(messages.size(), 65u);
  EXPECT_THAT(messages.back(), HasSubstr("more mistakes"));
}

}  // namespace
}  // namespace weft::objects
