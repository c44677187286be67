#include "agent/compile/analyze/explain.h"

#include "agent/compile/wire.h"
#include "proto/authorization.pb.h"
#include "tests/unit/agent/compile/manifests.h"
#include "ztunnel/policy/authorize.h"

#include <gmock/gmock.h>

#include <random>

namespace weft::analyze {
namespace {

using compile::peer;
using compile::policy;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

// Namespaces `shop` (in the mesh) and `outside`; a client and a web pod on different nodes, another
// web pod that is not ready, a stranger outside.
std::string mesh() {
  return "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, labels: "
         "{istio.io/dataplane-mode: ambient}}\n"
         "---\napiVersion: v1\nkind: Namespace\nmetadata: {name: outside}\n" +
         compile::pod("shop", "client", "app: client", "10.0.0.1", "serviceAccountName: c, ") +
         compile::pod("outside", "stranger", "app: stranger", "10.0.0.9") +
         "---\napiVersion: v1\nkind: Pod\nmetadata: {namespace: shop, name: web-1, labels: {app: "
         "web}}\n"
         "spec: {nodeName: node-2, containers: [{name: c, ports: [{name: http, containerPort: "
         "8080}]}]}\nstatus: {phase: Running, podIP: 10.0.0.2}\n"
         "---\napiVersion: v1\nkind: Pod\nmetadata: {namespace: shop, name: web-2, labels: {app: "
         "web}}\n"
         "spec: {nodeName: node-1, containers: [{name: c, ports: [{name: http, containerPort: "
         "8080}]}]}\nstatus: {phase: Running, podIP: 10.0.0.3, conditions: [{type: Ready, status: "
         "\"False\"}]}\n"
         "---\napiVersion: v1\nkind: Service\nmetadata: {namespace: shop, name: web}\n"
         "spec: {clusterIP: 10.96.0.1, selector: {app: web}, ports: [{port: 80, targetPort: "
         "http}]}\n";
}

Result<Explanation> ask(const std::string& yaml, const std::string& from, const std::string& to) {
  objects::Parsed parsed = objects::parse_manifests(yaml, "test.yaml");
  for (const Error& error : parsed.errors) ADD_FAILURE() << error.to_string();
  const auto question = parse_question(from, to);
  if (!question) return Fail(question.error());
  return explain(Cluster(parsed.objects, {}, {}), *question);
}

TEST(Explain, TheWholeWay) {
  const auto explanation =
      ask(mesh() +
              policy("shop", "no-stranger",
                     "{action: DENY, rules: [{from: [{source: {namespaces: "
                     "[outside]}}]}]}") +
              policy("shop", "clients",
                     "{selector: {matchLabels: {app: web}}, rules: [{to: [{operation: {ports: "
                     "['1']}}]}, {from: [{source: {principals: [cluster.local/ns/shop/sa/c]}}]}]}"),
          "shop/client", "web:80");
  ASSERT_TRUE(explanation) << explanation.error().to_string();
  EXPECT_THAT(
      explanation->lines,
      ElementsAre("from Pod shop/client, in the mesh, as spiffe://cluster.local/ns/shop/sa/c",
                  "to Service shop/web (10.96.0.1), port 80",
                  "endpoint Pod shop/web-1 (10.0.0.2), port 8080, in the mesh",
                  "  carried from node-1 to node-2 over mutual TLS (HBONE, port 15008)",
                  "  DENY  AuthorizationPolicy shop/no-stranger: no rule matches",
                  "  ALLOW AuthorizationPolicy shop/clients: matches by rule 2",
                  "allowed: by AuthorizationPolicy shop/clients",
                  "endpoint Pod shop/web-2 is not ready: not chosen"));
  EXPECT_EQ(explanation->allowed, Answer::kYes);
}

struct Row {
  std::string name;
  std::string policies;
  std::string from;
  std::string to;
  Answer allowed;
  std::string says;
};

class ExplainRow : public ::testing::TestWithParam<Row> {};

TEST_P(ExplainRow, IsJudged) {
  const Row& row = GetParam();
  const auto explanation = ask(mesh() + row.policies, row.from, row.to);
  ASSERT_TRUE(explanation) << explanation.error().to_string();
  EXPECT_EQ(explanation->allowed, row.allowed) << ::testing::PrintToString(explanation->lines);
  EXPECT_THAT(explanation->lines, Contains(HasSubstr(row.says)));
}

const std::string kStrict = peer("shop", "strict", "{mtls: {mode: STRICT}}");

std::string service(const std::string& name, const std::string& spec) {
  return "---\napiVersion: v1\nkind: Service\nmetadata: {namespace: shop, name: " + name +
         "}\nspec: {" + spec + "}\n";
}

std::string written(const std::string& kind, const std::string& name, const std::string& spec) {
  return "---\napiVersion: networking.istio.io/v1\nkind: " + kind +
         "\nmetadata: {namespace: shop, name: " + name + "}\nspec: {" + spec + "}\n";
}

const std::string kWeb = "selector: {app: web}, ports: [{port: 80, targetPort: http}], ";
const std::string kLocal =
    service("near", kWeb + "internalTrafficPolicy: Local") +
    service("sticky", kWeb + "trafficDistribution: PreferSameNode, sessionAffinity: ClientIP") +
    service("alias", "type: ExternalName, externalName: x.org");
const std::string kTls = "ports: [{number: 443, name: tls}], ";
const std::string kEntries =
    written("ServiceEntry", "api",
            kTls +
                "hosts: [api.example.org], addresses: [10.9.0.1], "
                "resolution: STATIC, endpoints: [{address: 10.2.0.1, ports: {tls: 8443}}]") +
    written("ServiceEntry", "db", kTls + "hosts: [db.example.org], resolution: DNS") +
    written("ServiceEntry", "range", kTls + "hosts: [\"*.range.org\"], addresses: [10.10.0.0/16]") +
    written("ServiceEntry", "empty",
            kTls +
                "hosts: [empty.example.org], resolution: STATIC, workloadSelector: {labels: "
                "{app: nobody}}") +
    written("ServiceEntry", "hidden",
            kTls + "hosts: [hidden.example.org], addresses: [10.9.0.9], exportTo: [\".\"]") +
    written("WorkloadEntry", "vm", "address: 10.3.0.1, labels: {app: vm}, ports: {a: 81}") +
    service("vms", "selector: {app: vm}, ports: [{name: a, port: 80}]");
const std::string kRegistryOnly =
    "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {namespace: istio-system, name: istio}\n"
    "data: {mesh: \"outboundTrafficPolicy: {mode: REGISTRY_ONLY}\"}\n";

INSTANTIATE_TEST_SUITE_P(
    Rows, ExplainRow,
    ::testing::Values(
        Row{"NoPolicy", "", "shop/client", "web:80", Answer::kYes, "allowed: no policy applies"},
        Row{"StrictRefusesPlainText", kStrict, "outside/stranger", "shop/web:80", Answer::kNo,
            "refused: by PeerAuthentication, mode STRICT"},
        Row{"StrictAllowsTheMesh", kStrict, "shop/client", "web:80", Answer::kYes,
            "DENY  PeerAuthentication, mode STRICT: no rule matches"},
        Row{"StrictButForAPort",
            peer("shop", "p",
                 "{selector: {matchLabels: {app: web}}, mtls: {mode: STRICT}, portLevelMtls: "
                 "{8080: {mode: PERMISSIVE}}}"),
            "outside/stranger", "shop/web:80", Answer::kYes, "PeerAuthentication shop/p"},
        Row{"AllowNothing", policy("shop", "none", "{}"), "shop/client", "web:80", Answer::kNo,
            "refused: there are ALLOW policies, and none of them matches"},
        Row{"OtherAppsPolicy", policy("shop", "p", "{selector: {matchLabels: {app: x}}}"),
            "shop/client", "web:80", Answer::kYes, "allowed: no policy applies"},
        Row{"RootPolicy", policy("istio-system", "p", "{action: DENY, rules: [{}]}"), "shop/client",
            "web:80", Answer::kNo, "refused: by AuthorizationPolicy istio-system/p"},
        Row{"DryRun",
            "---\napiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: "
            "{namespace: shop, name: p, annotations: {istio.io/dry-run: \"true\"}}\nspec: {action: "
            "DENY, rules: [{}]}\n",
            "shop/client", "web:80", Answer::kYes, "matches by rule 1 (dry run: decides nothing)"},
        Row{"OutOfTheMesh", policy("outside", "p", "{}"), "shop/client", "outside/stranger:80",
            Answer::kYes, "nothing is enforced for a workload outside the mesh"},
        Row{"BySourceAddress",
            policy("shop", "p",
                   "{action: DENY, rules: [{from: [{source: {ipBlocks: [10.0.0.8/29]}}]}]}"),
            "outside/stranger", "shop/web:80", Answer::kNo, "by AuthorizationPolicy shop/p"},
        Row{"NoSuchPort", "", "shop/client", "web:81", Answer::kNo,
            "refused: the Service has no ready endpoint for this port"},
        Row{"PodByName", "", "shop/client", "shop/web-1:9", Answer::kYes,
            "endpoint Pod shop/web-1 (10.0.0.2), port 9"},
        Row{"LocalOnly", kLocal, "shop/client", "near:80", Answer::kNo,
            "endpoint Pod shop/web-1 is on node-2: not chosen"},
        Row{"Preference", kLocal, "shop/client", "sticky:80", Answer::kYes,
            "balancing: prefers endpoints on the client's node"},
        Row{"Affinity", kLocal, "shop/client", "sticky:80", Answer::kYes,
            "balancing: always the same endpoint for one client address"},
        Row{"Alias", kLocal, "shop/client", "alias:80", Answer::kDepends, "alias in DNS of x.org"},
        Row{"EntryByHost", kEntries, "shop/client", "api.example.org:443", Answer::kYes,
            "endpoint 10.2.0.1, port 8443, outside the mesh"},
        Row{"EntryOfDns", kEntries, "shop/client", "db.example.org:443", Answer::kYes,
            "endpoint db.example.org, port 443, looked up in DNS when it is connected to"},
        Row{"EntryByAddress", kEntries, "shop/client", "10.9.0.1:443", Answer::kYes,
            "to ServiceEntry shop/api, host api.example.org (10.9.0.1), port 443, resolution "
            "STATIC"},
        Row{"EntryByRange", kEntries, "shop/client", "10.10.1.2:443", Answer::kYes,
            "to ServiceEntry shop/range, host *.range.org (10.10.0.0/16), port 443, resolution "
            "NONE"},
        Row{"EntryByWildcard", kEntries, "shop/client", "a.range.org:443", Answer::kYes,
            "carried as plain text, to the address that the client asked for"},
        Row{"EntryWithoutThePort", kEntries, "shop/client", "api.example.org:80", Answer::kNo,
            "refused: the ServiceEntry does not have this port"},
        Row{"EntryWithoutEndpoints", kEntries, "shop/client", "empty.example.org:443", Answer::kNo,
            "refused: the ServiceEntry has no endpoint for this port"},
        Row{"HiddenEntry", kEntries, "outside/stranger", "10.9.0.9:443", Answer::kYes,
            "to 10.9.0.9, port 443, which the mesh does not know"},
        Row{"UnknownAddress", "", "shop/client", "8.8.8.8:443", Answer::kYes,
            "allowed: outboundTrafficPolicy is ALLOW_ANY"},
        Row{"RegistryOnly", kRegistryOnly, "shop/client", "8.8.8.8:443", Answer::kNo,
            "refused: outboundTrafficPolicy is REGISTRY_ONLY"},
        Row{"RegistryOnlyAndKnown", kRegistryOnly, "shop/client", "10.0.0.2:80", Answer::kYes,
            "endpoint Pod shop/web-1"},
        Row{"RegistryOnlyByServiceAddress", kRegistryOnly, "shop/client", "10.96.0.1:80",
            Answer::kYes, "to Service shop/web"},
        Row{"RegistryOnlyOutsideTheRange", kRegistryOnly + kEntries, "shop/client", "10.10.1.2:22",
            Answer::kNo, "REGISTRY_ONLY"},
        Row{"Written", kEntries, "shop/client", "vms:80", Answer::kYes,
            "endpoint 10.3.0.1, port 81, outside the mesh"},
        Row{"ByHostName", "", "shop/client", "web.shop.svc.cluster.local:80", Answer::kYes,
            "to Service shop/web"}),
    [](const auto& info) { return info.param.name; });

TEST(Explain, AnAddressThatNobodyKnowsYetIsSaid) {
  const std::string deployment =
      "---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {namespace: shop, name: new}\nspec: "
      "{selector: {matchLabels: {app: new}}, template: {metadata: {labels: {app: new}}, spec: "
      "{containers: [{name: c}]}}}\n";
  const auto explanation =
      ask(mesh() + deployment +
              policy("shop", "p",
                     "{action: DENY, rules: [{from: [{source: {ipBlocks: [10.1.0.0/16]}}]}]}"),
          "shop/new", "web:80");
  ASSERT_TRUE(explanation);
  EXPECT_EQ(explanation->allowed, Answer::kDepends);
  EXPECT_THAT(explanation->lines, Contains(HasSubstr("may match by rule 1")));
}

TEST(Explain, WhatIsNotThereIsSaid) {
  EXPECT_EQ(ask(mesh(), "shop/nobody", "web:80").error().code, Code::kNotFound);
  EXPECT_EQ(ask(mesh(), "shop/client", "nothing:80").error().code, Code::kNotFound);
  for (const char* to : {"web", "web:", "web:0", "web:65536", "web:x", ":80", ""}) {
    EXPECT_EQ(ask(mesh(), "shop/client", to).error().code, Code::kInvalid) << to;
  }
  EXPECT_EQ(ask(mesh(), "", "web:80").error().code, Code::kInvalid);
}

// What people are told must be what ztunnel does: both judge random policies.

class RandomMesh {
 public:
  explicit RandomMesh(uint32_t seed) : random_(seed) {}

  model::Policy policy(size_t number) {
    model::Policy policy{
        .name = "p" + std::to_string(number),
        .ns = "shop",
        .scope = model::Policy::Scope::kNamespace,
        .action = one_in(2) ? model::Policy::Action::kAllow : model::Policy::Action::kDeny,
        .rules = {},
        .dry_run = one_in(8)};
    for (size_t i = pick(3); i > 0; --i) {
      model::Rule rule;
      for (size_t j = pick(3); j > 0; --j) {
        model::Clause clause;
        for (size_t k = 1 + pick(2); k > 0; --k) clause.any_of.push_back(match());
        rule.all_of.push_back(std::move(clause));
      }
      policy.rules.push_back(std::move(rule));
    }
    return policy;
  }
  Call call() {
    Call call;
    if (!one_in(3)) call.source = SpiffeId{word(), word(), word()};
    call.source_ip = IpAddress::v4(0x0a000000 + static_cast<uint32_t>(pick(4)));
    call.destination_ip = IpAddress::v4(0x0a000000 + static_cast<uint32_t>(pick(4)));
    call.port = static_cast<uint16_t>(1 + pick(3));
    return call;
  }
  size_t pick(size_t end) { return random_() % end; }

 private:
  bool one_in(size_t n) { return pick(n) == 0; }
  std::string word() { return one_in(2) ? "a" : "ab"; }
  model::Pattern pattern() {
    using Kind = model::Pattern::Kind;
    switch (pick(4)) {
      case 0:
        return {Kind::kPresent, {}};
      case 1:
        return {Kind::kPrefix, word()};
      case 2:
        return {Kind::kSuffix, word()};
      default:
        return {Kind::kExact, one_in(2) ? word() : word() + "/ns/" + word() + "/sa/" + word()};
    }
  }
  Cidr block() {
    return *Cidr::make(IpAddress::v4(0x0a000000 + static_cast<uint32_t>(pick(4))),
                       30 + static_cast<uint32_t>(pick(3)));
  }
  model::Match match() {
    model::Match match;
    match.ports = {static_cast<uint32_t>(1 + pick(3))};
    if (one_in(2)) match.ports.clear();
    if (one_in(4)) match.not_ports = {static_cast<uint32_t>(1 + pick(3))};
    if (one_in(3)) match.namespaces = {pattern()};
    if (one_in(5)) match.not_namespaces = {pattern()};
    if (one_in(3)) match.principals = {pattern(), pattern()};
    if (one_in(5)) match.not_principals = {pattern()};
    if (one_in(5)) match.accounts = {{word(), word()}};
    if (one_in(5)) match.not_accounts = {{word(), word()}};
    if (one_in(5)) match.sources = {block()};
    if (one_in(5)) match.not_sources = {block()};
    if (one_in(5)) match.destinations = {block()};
    if (one_in(5)) match.not_destinations = {block()};
    if (match == model::Match{}) match.ports = {1};  // the compiler makes no empty ones
    return match;
  }

  std::mt19937 random_;
};

TEST(Judge, DecidesAsZtunnelDoes) {
  constexpr uint32_t kRounds = 20'000;
  size_t refused = 0;
  for (uint32_t round = 0; round < kRounds; ++round) {
    RandomMesh random(round);
    std::vector<model::Policy> policies;
    policy::PolicyList compiled;
    for (size_t i = random.pick(4); i > 0; --i) {
      policies.push_back(random.policy(i));
      istio::security::Authorization resource;
      ASSERT_TRUE(resource.ParseFromString(compile::to_resource(policies.back()).bytes));
      auto one = policy::compile(resource);
      ASSERT_TRUE(one) << one.error().to_string();
      compiled.push_back(std::move(*one));
    }
    const Call call = random.call();
    const policy::Verdict verdict = policy::authorize(
        compiled, {.source = call.source,
                   .source_ip = *call.source_ip,
                   .destination = {.ip = *call.destination_ip, .port = call.port}});
    const Decision decision = decide(policies, call);
    refused += verdict.allowed ? 0 : 1;
    ASSERT_EQ(decision.allowed, verdict.allowed ? Answer::kYes : Answer::kNo) << "seed " << round;
    ASSERT_EQ(decision.by != nullptr ? decision.by->key() : "", verdict.policy) << "seed " << round;
    // Not to know an address may only make an answer uncertain, never another one.
    Call vague = call;
    vague.source_ip.reset();
    vague.destination_ip.reset();
    const Answer vaguely = decide(policies, vague).allowed;
    ASSERT_TRUE(vaguely == decision.allowed || vaguely == Answer::kDepends) << "seed " << round;
  }
  EXPECT_GT(refused, kRounds / 10);
  EXPECT_LT(refused, kRounds / 10 * 9);
}

}  // namespace
}  // namespace weft::analyze
