#include "agent/compile/notices.h"
#include "tests/unit/agent/compile/manifests.h"

#include <gmock/gmock.h>

namespace weft::compile {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

struct Case {
  const char* spec;
  const char* rules;   // as JSON; null: the policy is not sent
  const char* notice;  // part of the only one; empty: none
};

constexpr const char* kAllowLess = "less is allowed than the policy says";
constexpr const char* kDenyMore = "more is denied than the policy says";

// Compiled in the namespace shop; the head of the message is checked elsewhere.
void check(const Case& row) {
  Compiler compiler({});
  compiler.apply(changes_of(policy("shop", "p", row.spec)));
  const std::string body = body_of(compiler, "shop/p");
  if (row.rules == nullptr) {
    EXPECT_EQ(body, "") << row.spec;
  } else {
    const size_t at = body.find("\"rules\":");
    const std::string rules =
        at == std::string::npos ? "[]" : body.substr(at + 8, body.size() - at - 9);
    EXPECT_EQ(rules, row.rules) << row.spec;
  }
  if (*row.notice == '\0') {
    EXPECT_THAT(warnings(compiler), IsEmpty()) << row.spec;
  } else {
    EXPECT_THAT(warnings(compiler), ElementsAre(HasSubstr(row.notice))) << row.spec;
  }
}

TEST(AuthorizationPolicy, EveryL4ConditionIsCarriedOver) {
  const Case kCases[] = {
      {"{rules: [{from: [{source: {principals: [a, b*, \"*c\", \"*\"], notPrincipals: [d]}}]}]}",
       R"([{"clauses":[{"matches":[{"principals":[{"exact":"a"},{"prefix":"b"},{"suffix":"c"},)"
       R"({"presence":{}}],"notPrincipals":[{"exact":"d"}]}]}]}])",
       ""},
      {"{rules: [{from: [{source: {namespaces: [a, b*], notNamespaces: [\"*c\", \"*\"]}}]}]}",
       R"([{"clauses":[{"matches":[{"namespaces":[{"exact":"a"},{"prefix":"b"}],)"
       R"("notNamespaces":[{"suffix":"c"},{"presence":{}}]}]}]}])",
       ""},
      {"{rules: [{from: [{source: {serviceAccounts: [a/b, c], notServiceAccounts: [d]}}]}]}",
       R"([{"clauses":[{"matches":[{"serviceAccounts":[{"namespace":"a","serviceAccount":"b"},)"
       R"({"namespace":"shop","serviceAccount":"c"}],)"
       R"("notServiceAccounts":[{"namespace":"shop","serviceAccount":"d"}]}]}]}])",
       ""},
      {"{rules: [{from: [{source: {ipBlocks: [1.2.3.4, 5.6.0.0/16], notIpBlocks: [\"fd00::/8\"]}}]"
       "}]}",
       R"([{"clauses":[{"matches":[{"sourceIps":[{"address":"AQIDBA==","length":32},)"
       R"({"address":"BQYAAA==","length":16}],)"
       R"("notSourceIps":[{"address":"/QAAAAAAAAAAAAAAAAAAAA==","length":8}]}]}]}])",
       ""},
      {"{rules: [{to: [{operation: {ports: [\"80\", \"90\"], notPorts: [\"800\"]}}]}]}",
       R"([{"clauses":[{"matches":[{"destinationPorts":[80,90],"notDestinationPorts":[800]}]}]}])",
       ""},
      {"{rules: [{when: [{key: source.ip, values: [1.2.3.4], notValues: [10.0.0.0/8]}]}]}",
       R"([{"clauses":[{"matches":[{"sourceIps":[{"address":"AQIDBA==","length":32}],)"
       R"("notSourceIps":[{"address":"CgAAAA==","length":8}]}]}]}])",
       ""},
      {"{rules: [{when: [{key: source.namespace, values: [a*], notValues: [b]}]}]}",
       R"([{"clauses":[{"matches":[{"namespaces":[{"prefix":"a"}],)"
       R"("notNamespaces":[{"exact":"b"}]}]}]}])",
       ""},
      {"{rules: [{when: [{key: source.principal, notValues: [\"*\"]}]}]}",
       R"([{"clauses":[{"matches":[{"notPrincipals":[{"presence":{}}]}]}]}])", ""},
      {"{rules: [{when: [{key: source.serviceAccount, values: [a/b]}]}]}",
       R"([{"clauses":[{"matches":[{"serviceAccounts":[{"namespace":"a",)"
       R"("serviceAccount":"b"}]}]}]}])",
       ""},
      {"{rules: [{when: [{key: destination.ip, values: [1.2.3.4], notValues: [\"::1\"]}]}]}",
       R"([{"clauses":[{"matches":[{"destinationIps":[{"address":"AQIDBA==","length":32}],)"
       R"("notDestinationIps":[{"address":"AAAAAAAAAAAAAAAAAAAAAQ==","length":128}]}]}]}])",
       ""},
      {"{rules: [{when: [{key: destination.port, values: [\"91\"], notValues: [\"92\"]}]}]}",
       R"([{"clauses":[{"matches":[{"destinationPorts":[91],"notDestinationPorts":[92]}]}]}])", ""},
  };
  for (const Case& row : kCases) check(row);
}

TEST(AuthorizationPolicy, ClausesStandInIstiodsOrder) {
  check(
      {"{rules: [{from: [{source: {namespaces: [a]}}, {source: {namespaces: [b]}}],"
       " to: [{operation: {ports: [\"1\"]}}, {operation: {ports: [\"2\"]}}],"
       " when: [{key: source.ip, values: [1.2.3.4]}, {key: destination.port, values: [\"3\"]}]},"
       " {to: [{operation: {ports: [\"4\"]}}]}]}",
       R"([{"clauses":[{"matches":[{"destinationPorts":[1]},{"destinationPorts":[2]}]},)"
       R"({"matches":[{"namespaces":[{"exact":"a"}]},{"namespaces":[{"exact":"b"}]}]},)"
       R"({"matches":[{"sourceIps":[{"address":"AQIDBA==","length":32}]}]},)"
       R"({"matches":[{"destinationPorts":[3]}]}]},)"
       R"({"clauses":[{"matches":[{"destinationPorts":[4]}]}]}])",
       ""});
}

TEST(AuthorizationPolicy, EmptyIsNotNothing) {
  const Case kCases[] = {
      {"", "[]", ""},                              // an ALLOW that never matches
      {"{}", "[]", ""},                            // the same
      {"{rules: []}", "[]", ""},                   // the same
      {"{rules: [{}]}", "[{}]", ""},               // an ALLOW that always matches
      {"{action: DENY, rules: [{}]}", "[{}]", ""}  // deny everything
  };
  for (const Case& row : kCases) check(row);
}

TEST(AuthorizationPolicy, AllowLosesTheRulesThatNeedHttp) {
  const Case kCases[] = {
      {"{rules: [{to: [{operation: {methods: [GET]}}]}]}", "[]", kAllowLess},
      {"{rules: [{to: [{operation: {ports: [\"80\"], paths: [/a]}}]}]}", "[]", kAllowLess},
      {"{rules: [{to: [{operation: {ports: [\"80\"]}}, {operation: {hosts: [a]}}]}]}", "[]",
       kAllowLess},
      {"{rules: [{from: [{source: {requestPrincipals: [\"*\"]}}]}]}", "[]", kAllowLess},
      {"{rules: [{from: [{source: {remoteIpBlocks: [1.2.3.4]}}]}]}", "[]", kAllowLess},
      {"{rules: [{from: [{source: {namespaces: [a], trustDomains: [b]}}]}]}", "[]", kAllowLess},
      {"{rules: [{when: [{key: connection.sni, values: [a]}]}]}", "[]", kAllowLess},
      {"{rules: [{when: [{key: source.trustDomain, values: [a]}]}]}", "[]", kAllowLess},
      {"{rules: [{to: [{operation: {notPaths: [/a]}}]}, {to: [{operation: {ports: [\"80\"]}}]}]}",
       R"([{"clauses":[{"matches":[{"destinationPorts":[80]}]}]}])", kAllowLess},
  };
  for (const Case& row : kCases) check(row);
}

// Where istiod sends an empty match, which never matches and so denies nothing.
TEST(AuthorizationPolicy, DenyIsNeverWeakerThanWritten) {
  const Case kCases[] = {
      // The condition beside it in one match stays.
      {"{action: DENY, rules: [{to: [{operation: {ports: [\"80\"], methods: [GET]}}]}]}",
       R"([{"clauses":[{"matches":[{"destinationPorts":[80]}]}]}])", kDenyMore},
      // The clause goes, the others stay.
      {"{action: DENY, rules: [{from: [{source: {principals: [x]}}],"
       " to: [{operation: {methods: [GET]}}]}]}",
       R"([{"clauses":[{"matches":[{"principals":[{"exact":"x"}]}]}]}])", kDenyMore},
      // One alternative of several would have matched anything.
      {"{action: DENY, rules: [{to: [{operation: {ports: [\"80\"]}}, {operation: {methods: [GET]}}]"
       "}]}",
       "[{}]", kDenyMore},
      {"{action: DENY, rules: [{when: [{key: source.namespace, values: [a]},"
       " {key: connection.sni, values: [b]}]}]}",
       R"([{"clauses":[{"matches":[{"namespaces":[{"exact":"a"}]}]}]}])", kDenyMore},
      // Nothing is left: everything.
      {"{action: DENY, rules: [{from: [{source: {requestPrincipals: [x]}}],"
       " to: [{operation: {paths: [/a], methods: [GET]}}]}]}",
       "[{}]", kDenyMore},
      {"{action: DENY, rules: [{when: [{key: \"request.headers[x]\", values: [a]}]}]}", "[{}]",
       kDenyMore},
      {"{action: DENY, rules: [{from: [{source: {notTrustDomains: [a]}}]}]}", "[{}]", kDenyMore},
  };
  for (const Case& row : kCases) check(row);
}

TEST(AuthorizationPolicy, OtherActions) {
  check({"{action: AUDIT, rules: [{}]}", nullptr, "AUDIT is not supported"});
  check({"{targetRefs: [{kind: Service, name: a}], rules: [{}]}", nullptr,
         "is for a waypoint or gateway"});
  check({"{targetRef: {kind: Service, name: a}, action: DENY, rules: [{}]}", nullptr,
         "is for a waypoint or gateway"});
  check({"{action: CUSTOM, provider: {name: x}, rules: [{}]}", "[{}]",
         "CUSTOM: the provider x cannot be asked: what the rules match is denied"});
  Compiler compiler({});
  compiler.apply(changes_of(policy(
      "shop", "p",
      "{action: CUSTOM, provider: {name: x}, rules: [{to: [{operation: {paths: [/a]}}]}]}")));
  EXPECT_EQ(body_of(compiler, "shop/p"),
            R"({"name":"p","namespace":"shop","scope":"NAMESPACE","action":"DENY","rules":[{}]})");
  EXPECT_THAT(warnings(compiler), ElementsAre(HasSubstr("cannot be asked"), HasSubstr(kDenyMore)));
}

TEST(AuthorizationPolicy, ScopeAndHead) {
  Compiler compiler({});
  compiler.apply(changes_of(policy("istio-system", "mesh", "{action: DENY, rules: [{}]}") +
                            policy("istio-system", "some", "{selector: {matchLabels: {a: b}}}") +
                            policy("shop", "ns", "{action: ALLOW}") +
                            policy("shop", "every", "{selector: {}}")));
  EXPECT_EQ(json_of(compiler, "istio-system/mesh"),
            R"({"type":"istio.security.Authorization","name":"istio-system/mesh","resource":)"
            R"({"name":"mesh","namespace":"istio-system","action":"DENY","rules":[{}]}})");
  EXPECT_EQ(body_of(compiler, "istio-system/some"),
            R"({"name":"some","namespace":"istio-system","scope":"WORKLOAD_SELECTOR"})");
  EXPECT_EQ(body_of(compiler, "shop/ns"),
            R"({"name":"ns","namespace":"shop","scope":"NAMESPACE"})");
  EXPECT_EQ(body_of(compiler, "shop/every"),
            R"({"name":"every","namespace":"shop","scope":"WORKLOAD_SELECTOR"})");
}

TEST(AuthorizationPolicy, ClusterLocalIsTheMeshsOwnTrustDomain) {
  const std::string text = policy(
      "shop", "p",
      "{rules: [{from: [{source: {principals: [cluster.local/ns/a/sa/b, cluster.local/ns/a/*,"
      " other/ns/a/sa/b, \"*/sa/b\"], notPrincipals: [cluster.local/ns/c/sa/d]}}]}]}");
  Compiler renamed({.trust_domain = "corp.example"});
  renamed.apply(changes_of(text));
  EXPECT_THAT(body_of(renamed, "shop/p"),
              HasSubstr(R"("principals":[{"exact":"corp.example/ns/a/sa/b"},)"
                        R"({"prefix":"corp.example/ns/a/"},{"exact":"other/ns/a/sa/b"},)"
                        R"({"suffix":"/sa/b"}],)"
                        R"("notPrincipals":[{"exact":"corp.example/ns/c/sa/d"}])"));
  Compiler local({});
  local.apply(changes_of(text));
  EXPECT_THAT(body_of(local, "shop/p"), HasSubstr(R"({"exact":"cluster.local/ns/a/sa/b"})"));
}

TEST(AuthorizationPolicy, AliasesOfTheTrustDomainMeanTheSameAccounts) {
  const std::string text =
      policy("shop", "p",
             "{rules: [{from: [{source: {principals: [cluster.local/ns/a/sa/b, old.example/ns/a/*,"
             " other/ns/a/sa/b, \"*/sa/b\", \"*\", old.example]}}],"
             " when: [{key: source.principal, notValues: [new.example/ns/c/sa/d]}]}]}");
  Compiler compiler({.trust_domain = "new.example", .trust_domain_aliases = {"old.example"}});
  compiler.apply(changes_of(text));
  EXPECT_THAT(body_of(compiler, "shop/p"),
              AllOf(HasSubstr(R"("principals":[{"exact":"new.example/ns/a/sa/b"},)"
                              R"({"exact":"old.example/ns/a/sa/b"},{"prefix":"new.example/ns/a/"},)"
                              R"({"prefix":"old.example/ns/a/"},{"exact":"other/ns/a/sa/b"},)"
                              R"({"suffix":"/sa/b"},{"presence":{}},{"exact":"old.example"}])"),
                    HasSubstr(R"("notPrincipals":[{"exact":"new.example/ns/c/sa/d"},)"
                              R"({"exact":"old.example/ns/c/sa/d"}])")));
  // The mesh's ConfigMap may name more of them, at any time.
  compiler.apply(changes_of(
      "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: istio, namespace: istio-system}\n"
      "data: {mesh: \"trustDomainAliases: [older.example]\"}"));
  EXPECT_THAT(body_of(compiler, "shop/p"), HasSubstr(R"({"exact":"older.example/ns/a/sa/b"})"));
}

TEST(AuthorizationPolicy, DryRun) {
  const auto compiled = [](const std::string& value, const std::string& spec) {
    Compiler compiler({});
    compiler.apply(
        changes_of("apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\n"
                   "metadata: {name: p, annotations: {istio.io/dry-run: \"" +
                   value + "\"}}\nspec: " + spec));
    return std::pair(body_of(compiler, "default/p").contains("\"dryRun\":true"),
                     warnings(compiler).size());
  };
  EXPECT_EQ(compiled("true", "{action: DENY, rules: [{}]}"), std::pair(true, size_t{0}));
  EXPECT_EQ(compiled("1", "{}"), std::pair(true, size_t{0}));
  EXPECT_EQ(compiled("false", "{}"), std::pair(false, size_t{0}));
  EXPECT_EQ(compiled("yes", "{}"), std::pair(false, size_t{1}));  // enforced, and said so
  // CUSTOM knows no dry run: it is denied, which has a notice of its own.
  EXPECT_EQ(compiled("true", "{action: CUSTOM, provider: {name: x}, rules: [{}]}"),
            std::pair(false, size_t{2}));
}

TEST(AuthorizationPolicy, ConditionsAreIstios) {
  const auto condition = [](const std::string& text) {
    const auto changes = changes_of(text);
    const auto conditions = conditions_of(*changes.at(0).object, {});
    if (conditions.size() != 1) return std::to_string(conditions.size());
    return conditions[0].type + "=" + (conditions[0].is_true ? "True " : "False ") +
           conditions[0].reason + " " + conditions[0].message;
  };
  EXPECT_EQ(condition(policy("shop", "p", "{rules: [{}]}")),
            "ZtunnelAccepted=True Accepted attached to ztunnel");
  EXPECT_EQ(condition(policy("shop", "p", "{action: AUDIT, rules: [{}]}")),
            "ZtunnelAccepted=False UnsupportedValue ztunnel does not support the AUDIT action");
  EXPECT_THAT(
      condition(
          policy("shop", "p", "{rules: [{to: [{operation: {methods: [GET], paths: [/a]}}]}]}")),
      AllOf(HasSubstr("False UnsupportedValue ztunnel does not support HTTP attributes (found: "
                      "methods, paths). In ambient mode you must use a waypoint proxy"),
            HasSubstr("Within an ALLOW policy, rules matching HTTP attributes are omitted.")));
  EXPECT_THAT(condition(policy("shop", "p",
                               "{action: DENY, rules: [{to: [{operation: {methods: [GET]}}]}]}")),
              HasSubstr("DENY policy with HTTP attributes is enforced without the HTTP rules."));
  EXPECT_THAT(condition(policy("shop", "p", "{action: CUSTOM, provider: {name: x}, rules: [{}]}")),
              HasSubstr("False UnsupportedValue ztunnel does not support the CUSTOM action"));
  EXPECT_THAT(
      condition(policy("shop", "p", "{targetRefs: [{kind: Service, name: a}], rules: [{}]}")),
      HasSubstr("WaypointAccepted=False UnsupportedValue"));
  EXPECT_EQ(condition("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: m}\n"), "0");
}

}  // namespace
}  // namespace weft::compile
