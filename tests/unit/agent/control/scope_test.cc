#include "agent/control/scope.h"

#include "agent/objects/object.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace weft::control {
namespace {

using source::Change;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

Change put(const std::string& yaml) {
  const auto parsed = objects::parse_manifests(yaml, "test");
  EXPECT_TRUE(parsed.errors.empty()) << parsed.errors.front().to_string();
  return {parsed.objects.at(0)->key(), parsed.objects.at(0)};
}
Change ns(const std::string& name, const std::string& labels) {
  return put("{apiVersion: v1, kind: Namespace, metadata: {name: " + name + ", labels: {" + labels +
             "}}}");
}
Change service(const std::string& in, const std::string& name) {
  return put("{apiVersion: v1, kind: Service, metadata: {name: " + name + ", namespace: " + in +
             "}, spec: {clusterIP: 10.0.0.1, ports: [{port: 80}]}}");
}
Change policy(const std::string& in, const std::string& labels) {
  return put(
      "{apiVersion: security.istio.io/v1, kind: AuthorizationPolicy, metadata: {name: p, "
      "namespace: " +
      in + ", labels: {" + labels + "}}, spec: {}}");
}
Change mesh(const std::string& yaml) {
  return put(
      "{apiVersion: v1, kind: ConfigMap, metadata: {name: istio, namespace: weft}, data: "
      "{mesh: '" +
      yaml + "'}}");
}

std::vector<std::string> say(const std::vector<Change>& changes) {
  std::vector<std::string> texts;
  for (const Change& change : changes) {
    texts.push_back((change.object ? "+" : "-") + change.key.to_string());
  }
  return texts;
}

Scope make(const std::string& revision = {}) {
  Scope::Config config;
  config.mesh.config_namespace = "weft";
  config.revision = revision;
  config.own_namespace = "weft";
  return Scope(config);
}

TEST(Scope, LetsEverythingThroughByDefault) {
  Scope scope = make();
  EXPECT_THAT(say(scope.filter({service("a", "s"), ns("a", ""), policy("b", "istio.io/rev: x")})),
              UnorderedElementsAre("+Namespace/a", "+Service/a/s", "+AuthorizationPolicy/b/p"));
  EXPECT_THAT(say(scope.filter({{{"Service", "a", "s"}, nullptr}})), ElementsAre("-Service/a/s"));
  EXPECT_TRUE(scope.wants_roots("a"));
  EXPECT_FALSE(scope.wants_roots("b"));  // is not known to exist
}

TEST(Scope, FollowsDiscoverySelectors) {
  Scope scope = make();
  scope.filter({ns("a", "team: x"), ns("b", ""), service("a", "s"), service("b", "s"),
                policy("istio-system", ""), ns("istio-system", "")});
  EXPECT_THAT(say(scope.filter({mesh("discoverySelectors: [{matchLabels: {team: x}}]")})),
              ElementsAre("+ConfigMap/weft/istio", "-Service/b/s"));
  EXPECT_TRUE(scope.wants_roots("a"));
  EXPECT_FALSE(scope.wants_roots("b"));
  // Nothing is said of what was left out, and of what comes into it everything.
  EXPECT_THAT(say(scope.filter({service("b", "t")})), IsEmpty());
  EXPECT_THAT(say(scope.filter({ns("b", "team: x")})),
              ElementsAre("+Namespace/b", "+Service/b/s", "+Service/b/t"));
  EXPECT_THAT(scope.touched_namespaces(), ElementsAre("b"));
  EXPECT_THAT(say(scope.filter({ns("a", "team: other")})),
              ElementsAre("+Namespace/a", "-Service/a/s"));
  EXPECT_THAT(say(scope.filter({{{"Service", "a", "s"}, nullptr}})), IsEmpty());
  // Without selectors all count again.
  scope.filter({service("a", "s")});
  EXPECT_THAT(say(scope.filter({{{"ConfigMap", "weft", "istio"}, nullptr}})),
              ElementsAre("-ConfigMap/weft/istio", "+Service/a/s"));
}

TEST(Scope, UnderstandsExpressions) {
  const auto selected = [](const std::string& expression, const std::string& labels) {
    Scope scope = make();
    return !scope
                .filter({mesh("discoverySelectors: [{matchExpressions: [" + expression + "]}]"),
                         ns("a", labels), service("a", "s")})
                .back()
                .key.ns.empty();
  };
  EXPECT_TRUE(selected("{key: k, operator: In, values: [x, w]}", "k: w"));
  EXPECT_FALSE(selected("{key: k, operator: In, values: [x, w]}", "k: z"));
  EXPECT_FALSE(selected("{key: k, operator: In, values: [x, w]}", ""));
  EXPECT_TRUE(selected("{key: k, operator: NotIn, values: [x]}", ""));
  EXPECT_FALSE(selected("{key: k, operator: NotIn, values: [x]}", "k: x"));
  EXPECT_TRUE(selected("{key: k, operator: Exists}", "k: x"));
  EXPECT_FALSE(selected("{key: k, operator: Exists}", ""));
  EXPECT_TRUE(selected("{key: k, operator: DoesNotExist}", ""));
  EXPECT_FALSE(selected("{key: k, operator: DoesNotExist}", "k: x"));
}

TEST(Scope, BesideAnotherControlPlaneOnlyItsRevision) {
  Scope scope = make("weft");
  EXPECT_THAT(say(scope.filter({ns("a", "istio.io/rev: weft"), ns("b", "istio.io/rev: other"),
                                policy("a", ""), policy("b", ""), service("b", "s")})),
              UnorderedElementsAre("+Namespace/a", "+Namespace/b", "+Service/b/s",
                                   "+AuthorizationPolicy/a/p"));
  EXPECT_TRUE(scope.wants_roots("a"));
  EXPECT_FALSE(scope.wants_roots("b"));
  // A label of its own counts before the namespace's.
  EXPECT_THAT(say(scope.filter({policy("b", "istio.io/rev: weft")})),
              ElementsAre("+AuthorizationPolicy/b/p"));
  EXPECT_THAT(say(scope.filter({policy("a", "istio.io/rev: other")})),
              ElementsAre("-AuthorizationPolicy/a/p"));
  EXPECT_THAT(say(scope.filter({policy("a", ""), ns("a", "")})), ElementsAre("+Namespace/a"));
}

TEST(Scope, KubernetesOwnNamespacesGetNoRoots) {
  Scope scope = make();
  scope.filter({ns("kube-system", ""), ns("weft", "")});
  EXPECT_FALSE(scope.wants_roots("kube-system"));
  EXPECT_TRUE(scope.wants_roots("weft"));
}

TEST(MeshConfig, WrongSelectorsAreMistakes) {
  for (const char* text :
       {"discoverySelectors: [{matchExpressions: [{key: k, operator: in, values: [x]}]}]",
        "discoverySelectors: [{matchExpressions: [{key: k, operator: In}]}]",
        "discoverySelectors: [{matchExpressions: [{key: k, operator: Exists, values: [x]}]}]",
        "discoverySelectors: [{matchExpressions: [{operator: Exists}]}]",
        "discoverySelectors: [{matchLabel: {a: b}}]", "discoverySelectors: {}"}) {
    const auto parsed = objects::parse_manifests(
        std::string("{apiVersion: v1, kind: ConfigMap, metadata: {name: istio-canary, namespace: "
                    "weft}, data: {mesh: '") +
            text + "'}}",
        "test");
    EXPECT_FALSE(parsed.errors.empty()) << text;
  }
}

}  // namespace
}  // namespace weft::control
