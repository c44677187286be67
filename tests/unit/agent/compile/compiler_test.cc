#include "tests/unit/agent/compile/manifests.h"

#include <gmock/gmock.h>

#include <map>
#include <random>

namespace weft::compile {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

std::string service(const std::string& ns, const std::string& name, const std::string& selector) {
  return "---\napiVersion: v1\nkind: Service\nmetadata: {namespace: " + ns + ", name: " + name +
         "}\nspec: {selector: {" + selector + "}, clusterIP: 10.96.0.1, ports: [{port: 80}]}\n";
}

std::string ns(const std::string& name, const std::string& labels) {
  return "---\napiVersion: v1\nkind: Namespace\nmetadata: {name: " + name + ", labels: {" + labels +
         "}}\n";
}

TEST(Compiler, SaysOnlyWhatAChangeTouches) {
  Compiler compiler({});
  EXPECT_THAT(steps(compiler.apply(changes_of(pod("shop", "web", "app: web", "10.0.0.1") +
                                              pod("shop", "order", "app: order", "10.0.0.2") +
                                              pod("bank", "web", "app: web", "10.0.0.3") +
                                              service("shop", "web", "app: web")))),
              ElementsAre("+shop/web.shop.svc.cluster.local", "+Kubernetes//Pod/bank/web",
                          "+Kubernetes//Pod/shop/order", "+Kubernetes//Pod/shop/web"));
  // The same again: nothing.
  EXPECT_THAT(compiler.apply(changes_of(service("shop", "web", "app: web"))), IsEmpty());
  // A selector moves: the Service's own bytes stay, both pods change.
  EXPECT_THAT(steps(compiler.apply(changes_of(service("shop", "web", "app: order")))),
              ElementsAre("+Kubernetes//Pod/shop/order", "+Kubernetes//Pod/shop/web"));
  EXPECT_THAT(steps(compiler.apply({removal("Service", "shop", "web")})),
              ElementsAre("+Kubernetes//Pod/shop/order", "-shop/web.shop.svc.cluster.local"));
  EXPECT_THAT(steps(compiler.apply({removal("Pod", "bank", "web")})),
              ElementsAre("-Kubernetes//Pod/bank/web"));
  EXPECT_THAT(compiler.apply({removal("Pod", "bank", "web")}), IsEmpty());
  // A Namespace's label concerns its pods, where it changes anything of them: nobody is captured.
  EXPECT_THAT(compiler.apply(changes_of(ns("shop", "istio.io/dataplane-mode: ambient"))),
              IsEmpty());
}

TEST(Compiler, PoliciesComeBeforeWhoNeedsThemAndGoAfter) {
  Compiler compiler({});
  const std::string selector = "{selector: {matchLabels: {app: web}}}";
  EXPECT_THAT(steps(compiler.apply(changes_of(
                  pod("shop", "web", "app: web", "10.0.0.1") + service("shop", "web", "app: web") +
                  policy("shop", "z", selector) + policy("shop", "early", "{}") +
                  peer("shop", "s", "{mtls: {mode: STRICT}}")))),
              ElementsAre("+shop/early", "+shop/z", "+istio-system/istio_converted_static_strict",
                          "+shop/web.shop.svc.cluster.local", "+Kubernetes//Pod/shop/web"));
  EXPECT_THAT(
      steps(compiler.apply({removal("AuthorizationPolicy", "shop", "z"),
                            removal("Service", "shop", "web"),
                            removal("PeerAuthentication", "shop", "s"),
                            changes_of(policy("shop", "new", selector))[0]})),
      ElementsAre("+shop/new", "+Kubernetes//Pod/shop/web", "-shop/web.shop.svc.cluster.local",
                  "-shop/z", "-istio-system/istio_converted_static_strict"));
}

// A policy for the namespace that becomes one by selector: its workloads name it before it shrinks.
// The other way round it widens before they stop naming it.
TEST(Compiler, APolicyThatNarrowsIsNeverOutOfForce) {
  Compiler compiler({});
  const std::string narrow = "{action: DENY, selector: {matchLabels: {app: web}}, rules: [{}]}";
  const std::string wide = "{action: DENY, rules: [{}]}";
  compiler.apply(
      changes_of(pod("shop", "web", "app: web", "10.0.0.1") + policy("shop", "p", wide)));
  EXPECT_THAT(steps(compiler.apply(changes_of(policy("shop", "p", narrow)))),
              ElementsAre("+Kubernetes//Pod/shop/web", "+shop/p"));
  EXPECT_THAT(steps(compiler.apply(changes_of(policy("shop", "p", wide)))),
              ElementsAre("+shop/p", "+Kubernetes//Pod/shop/web"));
}

TEST(Compiler, CapturePutsAPodOnHbone) {
  Compiler compiler({});
  compiler.apply(changes_of(ns("shop", "istio.io/dataplane-mode: ambient") +
                            pod("shop", "web", "app: web", "10.0.0.1")));
  auto captured = changes_of(pod("shop", "web", "app: web", "10.0.0.1"));
  auto copy = std::make_shared<crd::core::Pod>(*captured[0].object->as<crd::core::Pod>());
  (*copy->mutable_metadata()->mutable_annotations())[kRedirectionAnnotation] = "enabled";
  captured[0].object = std::make_shared<objects::Object>("v1", "Pod", copy);
  EXPECT_THAT(steps(compiler.apply(captured)), ElementsAre("+Kubernetes//Pod/shop/web"));
  EXPECT_THAT(body_of(compiler, "Kubernetes//Pod/shop/web"), HasSubstr("\"HBONE\""));
  // Leaving the mesh through the namespace takes it off at once.
  EXPECT_THAT(steps(compiler.apply(changes_of(ns("shop", "")))),
              ElementsAre("+Kubernetes//Pod/shop/web"));
  EXPECT_THAT(body_of(compiler, "Kubernetes//Pod/shop/web"), testing::Not(HasSubstr("\"HBONE\"")));
}

TEST(Compiler, NodesMayAskForWhatTheyRun) {
  Compiler compiler({.trust_domain = "td"});
  const SpiffeId seller{"td", "shop", "seller"};
  const std::string account = "serviceAccountName: seller, ";
  const auto runs = [&](const char* node, const SpiffeId& id) {
    return compiler.node_runs(node, id);
  };
  const auto two = changes_of(pod("shop", "a", "", "10.0.0.1", account) +
                              pod("shop", "b", "", "10.0.0.2", account));
  compiler.apply(two);
  EXPECT_FALSE(runs("node-1", seller));  // not in the mesh
  compiler.apply(changes_of(ns("shop", "istio.io/dataplane-mode: ambient")));
  EXPECT_TRUE(runs("node-1", seller));
  EXPECT_FALSE(runs("node-2", seller));
  EXPECT_FALSE(runs("", seller));
  EXPECT_FALSE(runs("node-1", {"other", "shop", "seller"}));
  EXPECT_FALSE(runs("node-1", {"td", "shop", "default"}));
  EXPECT_FALSE(runs("node-1", {"td", "bank", "seller"}));
  compiler.apply({removal("Pod", "shop", "a")});
  EXPECT_TRUE(runs("node-1", seller));  // b is still there
  const auto with = [&](const std::string& meta, const std::string& status) {
    compiler.apply(changes_of("apiVersion: v1\nkind: Pod\nmetadata: {namespace: shop, name: b" +
                              meta +
                              "}\nspec: {nodeName: node-1, serviceAccountName: seller, "
                              "containers: [{name: c}]}\nstatus: {" +
                              status + "}\n"));
    return runs("node-1", seller);
  };
  EXPECT_TRUE(with("", "phase: Pending"));  // scheduled, no address yet
  EXPECT_TRUE(with(", deletionTimestamp: \"2026-01-01T00:00:00Z\"", "phase: Running"));
  EXPECT_FALSE(with("", "phase: Succeeded"));
  EXPECT_FALSE(with("", "phase: Failed"));
  EXPECT_TRUE(with("", "phase: Running"));
  compiler.apply(changes_of(ns("shop", "")));
  EXPECT_FALSE(runs("node-1", seller));
}

TEST(Compiler, WhatIsNotHonouredHasANotice) {
  Compiler compiler({});
  compiler.apply(changes_of(
      "apiVersion: networking.istio.io/v1alpha3\nkind: EnvoyFilter\nmetadata: {name: v}\nspec: {}\n"
      "---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: r}\n"
      "---\napiVersion: security.istio.io/v1\nkind: RequestAuthentication\nmetadata: {name: j}\n"
      "---\napiVersion: v1\nkind: Secret\nmetadata: {name: s}\n"
      "---\napiVersion: v1\nkind: Service\nmetadata: {name: e, annotations: "
      "{networking.istio.io/traffic-distribution: Near}}\nspec: {type: ExternalName, "
      "externalName: example.org}\n" +
      ns("shop", "istio.io/use-waypoint: wp") + ns("bank", "istio.io/use-waypoint: none")));
  EXPECT_THAT(warnings(compiler),
              ElementsAre("EnvoyFilter/default/v: is accepted and not yet honoured",
                          "HTTPRoute/default/r: is accepted and not yet honoured: its parents are "
                          "gateways",
                          "RequestAuthentication/default/j: is accepted and not yet honoured",
                          "Service/default/e: networking.istio.io/traffic-distribution: unknown "
                          "value \"Near\"; expected PreferSameZone, PreferSameNode, PreferClose or "
                          "Any"));
  compiler.apply({removal("EnvoyFilter", "default", "v"), removal("HTTPRoute", "default", "r"),
                  removal("RequestAuthentication", "default", "j"),
                  removal("Service", "default", "e"), removal("Namespace", "", "shop")});
  EXPECT_THAT(warnings(compiler), IsEmpty());
}

TEST(Compiler, VersionsFollowTheBytes) {
  const auto resource_of = [](const std::string& text) {
    Compiler compiler({});
    compiler.apply(changes_of(text));
    return compiler.all().at(0);
  };
  const Resource first = resource_of(pod("shop", "web", "app: web", "10.0.0.1"));
  const Resource again = resource_of(pod("shop", "web", "app: web, ignored: x", "10.0.0.1"));
  const Resource other = resource_of(pod("shop", "web", "app: web", "10.0.0.2"));
  EXPECT_EQ(first.version, again.version);
  EXPECT_EQ(first.bytes, again.bytes);
  EXPECT_NE(first.version, other.version);
  EXPECT_FALSE(first.removed);
}

// A cluster that somebody keeps changing: objects come, change and go at random.
class Churn {
 public:
  explicit Churn(uint32_t seed) : random_(seed) {}

  std::vector<source::Change> next() {
    std::vector<source::Change> changes;
    const size_t size = 1 + pick(4);
    for (size_t i = 0; i < size; ++i) changes.push_back(one());
    for (const source::Change& change : changes) present_[change.key] = change.object;
    return changes;
  }
  std::vector<source::Change> everything() const {
    std::vector<source::Change> changes;
    for (const auto& [key, object] : present_) {
      if (object != nullptr) changes.push_back({key, object});
    }
    return changes;
  }

 private:
  size_t pick(size_t bound) { return random_() % bound; }
  template <size_t size>
  std::string any(const char* const (&choices)[size]) {
    return choices[pick(size)];
  }

  std::string text() {
    const std::string where = any({"istio-system", "shop", "bank"});
    const std::string name = any({"a", "b", "c"});
    const std::string selector = any({"", "selector: {matchLabels: {app: x}}, ",
                                      "selector: {matchLabels: {app: z, v: \"1\"}"
                                      "}, "});
    switch (pick(10)) {
      case 0:
        return ns(where, any({"", "istio.io/dataplane-mode: ambient", "istio-injection: enabled"}));
      case 1:
        return "---\napiVersion: v1\nkind: Pod\nmetadata: {namespace: " + where +
               ", name: " + name + ", labels: {" +
               any({"", "app: x", "app: z", "app: z, v: \"1\""}) + "}, annotations: {" +
               any({"", "ambient.istio.io/redirection: enabled"}) +
               "}}\nspec: {nodeName: " + any({"n1", "n2"}) +
               ", serviceAccountName: " + any({"s1", "s2"}) +
               ", containers: [{name: c, ports: [{name: http, containerPort: " +
               any({"80", "8080"}) + "}]}]}\nstatus: {phase: " + any({"Running", "Succeeded"}) +
               ", podIP: " + any({"10.0.0.1", "10.0.0.2"}) + "}\n";
      case 2:
        return "---\napiVersion: v1\nkind: Service\nmetadata: {namespace: " + where +
               ", name: " + name + "}\nspec: {selector: {" + any({"", "app: x", "app: z"}) +
               "}, ports: [{port: 80, targetPort: " + any({"http", "9"}) + "}]}\n";
      case 3:
        return policy(where, name,
                      "{" + selector + "action: " + any({"ALLOW", "DENY", "AUDIT"}) +
                          ", rules: [{to: [{operation: {ports: [\"" + any({"1", "2"}) +
                          "\"]}}]}]}");
      case 4:
        return peer(where, name,
                    "{" + selector +
                        "mtls: {mode: " + any({"UNSET", "STRICT", "PERMISSIVE", "DISABLE"}) + "}" +
                        (selector.empty() ? ""
                                          : any({"", ", portLevelMtls: {80: {mode: STRICT}}",
                                                 ", portLevelMtls: {80: {mode: DISABLE}}"})) +
                        "}",
                    2020 + static_cast<int>(pick(3)));
      case 5:
        return service_entry(where, name);
      case 6:
        return net("WorkloadEntry", where, name) +
               "spec: {address: " + any({"10.0.0.1", "10.0.0.9", "vm.example.org", "unix:///s"}) +
               ", labels: {" + any({"app: x", "app: z", ""}) + "}, ports: {" +
               any({"", "http: 81", "p: 82"}) + "}}\n";
      case 7:
        return net("Sidecar", where, name) + "spec: {" +
               any({"", "workloadSelector: {labels: {app: x}}, "}) +
               "outboundTrafficPolicy: {mode: " + any({"REGISTRY_ONLY", "ALLOW_ANY"}) + "}}\n";
      case 8:
        return "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {namespace: " +
               where + ", name: " + name +
               ", labels: {kubernetes.io/service-name: " + any({"a", "b"}) +
               "}}\naddressType: IPv4\nports: [{port: 99}]\n" +
               "endpoints: [{addresses: [10.1.0.1], nodeName: n1}, {addresses: [10.1.0." +
               any({"1", "2"}) + "], conditions: {ready: " + any({"true", "false"}) + "}}]\n";
      default:
        if (pick(2) == 0) {
          return "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {namespace: " + where +
                 ", name: istio}\ndata: {mesh: \"outboundTrafficPolicy: {mode: " +
                 any({"REGISTRY_ONLY", "ALLOW_ANY"}) + "}\"}\n";
        }
        return "---\napiVersion: v1\nkind: Node\nmetadata: {name: " + any({"n1", "n2"}) +
               ", labels: {topology.kubernetes.io/zone: " + any({"east", "west"}) + "}}\n";
    }
  }

  static std::string net(const std::string& kind, const std::string& where, const std::string& name,
                         const std::string& more = "") {
    return "---\napiVersion: networking.istio.io/v1\nkind: " + kind +
           "\nmetadata: {namespace: " + where + ", name: " + name + more + "}\n";
  }

  std::string service_entry(const std::string& where, const std::string& name) {
    std::string how;
    switch (pick(4)) {
      case 0:
        how =
            "resolution: STATIC, endpoints: [{address: 10.2.0.1, ports: {http: 8080}}, "
            "{address: 10.2.0." +
            any({"1", "2"}) + ", weight: 3}]";
        break;
      case 1:
        how = "resolution: STATIC, workloadSelector: {labels: {app: " + any({"x", "z"}) + "}}";
        break;
      case 2:
        how = "resolution: DNS";
        break;
      default:
        how = "resolution: NONE";
    }
    return net("ServiceEntry", where, name,
               ", creationTimestamp: \"202" + std::to_string(pick(3)) +
                   "-01-01T00:00:00Z\", labels: {" +
                   any({"", "networking.istio.io/enable-autoallocate-ip: \"false\""}) + "}") +
           "spec: {hosts: [" +
           any({"a.example.org", "b.example.org", "a.shop.svc.cluster.local",
                "a.example.org, b.example.org"}) +
           "], addresses: [" + any({"", "", "10.9.0.1"}) +
           "], ports: [{number: 80, name: http, protocol: HTTP}], " + how +
           any({"", ", exportTo: [\".\"]"}) + "}\n";
  }

  source::Change one() {
    source::Change change = changes_of(text()).at(0);
    if (pick(3) == 0) change.object = nullptr;
    return change;
  }

  std::mt19937 random_;
  std::map<objects::Key, std::shared_ptr<const objects::Object>> present_;
};

using Told = std::map<std::pair<std::string, std::string>, Resource>;

void hear(const std::vector<Resource>& resources, Told& told) {
  for (const Resource& resource : resources) {
    const std::pair key(resource.type, resource.name);
    if (resource.removed) {
      EXPECT_EQ(told.erase(key), 1u) << resource.name << " was not there";
    } else {
      const auto before = told.find(key);
      EXPECT_TRUE(before == told.end() || before->second.version != resource.version)
          << resource.name << " has not changed";
      told[key] = resource;
    }
  }
}

std::string text_of(const Resource& resource) {
  const auto line = to_json_line(resource);
  return line ? resource.version + " " + *line : line.error().to_string();
}

TEST(Compiler, ChangesAddUpToCompilingFromScratch) {
  const SpiffeId identities[] = {{"cluster.local", "shop", "s1"}, {"cluster.local", "bank", "s2"}};
  for (uint32_t seed = 1; seed <= 20; ++seed) {
    Churn churn(seed);
    Compiler compiler({});
    Told told;
    for (int step = 0; step < 60 && !testing::Test::HasFailure(); ++step) {
      hear(compiler.apply(churn.next()), told);
      Compiler fresh({});
      fresh.apply(churn.everything());
      std::vector<std::string> expected;
      for (const Resource& resource : fresh.all()) expected.push_back(text_of(resource));
      std::vector<std::string> actual;
      for (const Resource& resource : compiler.all()) actual.push_back(text_of(resource));
      EXPECT_EQ(actual, expected) << "seed " << seed << ", step " << step;
      std::sort(expected.begin(), expected.end());
      std::vector<std::string> heard;
      for (const auto& [key, resource] : told) heard.push_back(text_of(resource));
      std::sort(heard.begin(), heard.end());
      EXPECT_EQ(heard, expected) << "seed " << seed << ", step " << step;
      EXPECT_EQ(warnings(compiler), warnings(fresh));
      for (const SpiffeId& identity : identities) {
        EXPECT_EQ(compiler.node_runs("n1", identity), fresh.node_runs("n1", identity));
      }
    }
  }
}

// Whoever listens to the changes one by one never sees a workload name a policy that is not there.
TEST(Compiler, NobodyEverNamesAPolicyThatIsNotThere) {
  const auto is_there = [](const Told& told, const std::string& name) {
    return told.contains({"istio.security.Authorization", name});
  };
  for (uint32_t seed = 100; seed < 110; ++seed) {
    Churn churn(seed);
    Compiler compiler({});
    Told told;
    for (int step = 0; step < 60; ++step) {
      for (const Resource& resource : compiler.apply(churn.next())) {
        hear({resource}, told);
        for (const auto& [key, present] : told) {
          const std::string line = *to_json_line(present);
          size_t at = line.find("\"authorizationPolicies\":[");
          if (at == std::string::npos) continue;
          at += 25;
          std::string list = line.substr(at, line.find(']', at) - at);
          for (size_t quote = list.find('"'); quote != std::string::npos; quote = list.find('"')) {
            const size_t end = list.find('"', quote + 1);
            const std::string name = list.substr(quote + 1, end - quote - 1);
            EXPECT_TRUE(is_there(told, name)) << present.name << " names " << name;
            list.erase(0, end + 1);
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace weft::compile
