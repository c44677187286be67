#include "tests/unit/agent/compile/manifests.h"

#include <gmock/gmock.h>

namespace weft::compile {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr const char* kStrict = "istio-system/istio_converted_static_strict";
constexpr const char* kPorts = "shop/converted_peer_authentication_own";
constexpr const char* kNone = "";

struct Case {
  const char* mesh;  // the modes of the wider scopes; empty: no object
  const char* ns;
  const char* own;        // spec behind the selector of the workload's object; empty: none
  const char* refers_to;  // what the workload names
  const char* rules;      // of its own policy, as JSON; empty: there is none
};

constexpr const char* kDenyPlain = R"({"matches":[{"notPrincipals":[{"presence":{}}]}]})";

std::string except(int port) {
  return R"({"matches":[{"notDestinationPorts":[)" + std::to_string(port) + "]}]}";
}

std::string only(int port) {
  return R"({"clauses":[{"matches":[{"notPrincipals":[{"presence":{}}],"destinationPorts":[)" +
         std::to_string(port) + "]}]}]}";
}

std::string manifests(const Case& row) {
  std::string text = pod("shop", "web", "app: web", "10.0.0.1");
  if (*row.mesh != '\0') {
    text += peer("istio-system", "mesh", std::string("{mtls: {mode: ") + row.mesh + "}}");
  }
  if (*row.ns != '\0') text += peer("shop", "ns", std::string("{mtls: {mode: ") + row.ns + "}}");
  if (*row.own != '\0') {
    text +=
        peer("shop", "own", std::string("{selector: {matchLabels: {app: web}}, ") + row.own + "}");
  }
  return text;
}

void check(const Case& row) {
  const std::string what =
      std::string("mesh ") + row.mesh + ", namespace " + row.ns + ", own " + row.own;
  Compiler compiler({});
  compiler.apply(changes_of(manifests(row)));
  const std::string workload = body_of(compiler, "Kubernetes//Pod/shop/web");
  if (*row.refers_to == '\0') {
    EXPECT_THAT(workload, testing::Not(HasSubstr("authorizationPolicies"))) << what;
  } else {
    EXPECT_THAT(workload,
                HasSubstr(std::string(R"("authorizationPolicies":[")") + row.refers_to + "\"]"))
        << what;
    EXPECT_NE(body_of(compiler, row.refers_to), "") << what;  // what is named is there
  }
  const std::string rules = row.rules;
  const std::string expected =
      rules.empty() ? ""
                    : R"({"name":"converted_peer_authentication_own","namespace":"shop",)"
                      R"("scope":"WORKLOAD_SELECTOR","action":"DENY","rules":[)" +
                          rules + "]}";
  EXPECT_EQ(body_of(compiler, kPorts), expected) << what;
}

TEST(PeerAuthentication, TheNarrowestScopeThatSaysSomethingCounts) {
  const Case kCases[] = {
      {"", "", "", kNone, ""},
      {"STRICT", "", "", kStrict, ""},
      {"PERMISSIVE", "", "", kNone, ""},
      {"UNSET", "", "", kNone, ""},
      {"", "STRICT", "", kStrict, ""},
      {"STRICT", "UNSET", "", kStrict, ""},
      {"STRICT", "PERMISSIVE", "", kNone, ""},
      {"STRICT", "DISABLE", "", kNone, ""},
      {"PERMISSIVE", "STRICT", "", kStrict, ""},
      {"", "", "mtls: {mode: STRICT}", kStrict, ""},
      {"STRICT", "", "mtls: {mode: PERMISSIVE}", kNone, ""},
      {"STRICT", "", "mtls: {mode: DISABLE}", kNone, ""},
      {"STRICT", "", "mtls: {mode: UNSET}", kStrict, ""},
      {"PERMISSIVE", "STRICT", "mtls: {}", kStrict, ""},
      {"STRICT", "PERMISSIVE", "mtls: {mode: STRICT}", kStrict, ""},
  };
  for (const Case& row : kCases) check(row);
}

TEST(PeerAuthentication, PortsThatDifferNeedAPolicyOfTheirOwn) {
  const std::string strict = kDenyPlain;
  const std::string own_first = "{\"clauses\":[" + strict + "," + except(9090) + "]}";
  const std::string own_last = "{\"clauses\":[" + except(9090) + "," + strict + "]}";
  const std::string two_but =
      "{\"clauses\":[" + strict + "," + except(80) + "," + except(9090) + "]}";
  const std::string two_only = only(80) + "," + only(443);
  const Case kCases[] = {
      // Strict but for some ports.
      {"", "", "mtls: {mode: STRICT}, portLevelMtls: {9090: {mode: PERMISSIVE}}", kPorts,
       own_first.c_str()},
      {"", "", "mtls: {mode: STRICT}, portLevelMtls: {9090: {mode: DISABLE}}", kPorts,
       own_first.c_str()},
      {"", "", "mtls: {mode: STRICT}, portLevelMtls: {443: {mode: STRICT}, 9090: {mode: DISABLE}}",
       kPorts, own_first.c_str()},
      {"", "",
       "mtls: {mode: STRICT}, portLevelMtls: {9090: {mode: DISABLE}, 80: {mode: "
       "PERMISSIVE}}",
       kPorts, two_but.c_str()},
      {"", "", "mtls: {mode: STRICT}, portLevelMtls: {443: {mode: STRICT}}", kStrict, ""},
      {"", "", "mtls: {mode: STRICT}, portLevelMtls: {443: {mode: UNSET}}", kStrict, ""},
      // Strict by inheritance but for some ports; DISABLE as well, which istiod overlooks.
      {"STRICT", "", "portLevelMtls: {9090: {mode: PERMISSIVE}}", kPorts, own_last.c_str()},
      {"STRICT", "", "portLevelMtls: {9090: {mode: DISABLE}}", kPorts, own_last.c_str()},
      {"", "STRICT", "mtls: {}, portLevelMtls: {9090: {mode: PERMISSIVE}, 1: {mode: STRICT}}",
       kPorts, own_last.c_str()},
      {"STRICT", "UNSET", "portLevelMtls: {9090: {mode: PERMISSIVE}}", kPorts, own_last.c_str()},
      {"STRICT", "", "portLevelMtls: {443: {mode: STRICT}}", kStrict, ""},
      // Not strict but for some ports.
      {"", "", "portLevelMtls: {80: {mode: STRICT}, 443: {mode: STRICT}}", kPorts,
       two_only.c_str()},
      {"", "",
       "mtls: {mode: PERMISSIVE}, portLevelMtls: {80: {mode: STRICT}, 443: {mode: STRICT},"
       " 9090: {mode: DISABLE}}",
       kPorts, two_only.c_str()},
      {"STRICT", "",
       "mtls: {mode: DISABLE}, portLevelMtls: {80: {mode: STRICT}, 443: {mode: "
       "STRICT}}",
       kPorts, two_only.c_str()},
      {"STRICT", "PERMISSIVE", "portLevelMtls: {80: {mode: STRICT}, 443: {mode: STRICT}}", kPorts,
       two_only.c_str()},
      {"PERMISSIVE", "", "portLevelMtls: {80: {mode: PERMISSIVE}}", kNone, ""},
      {"", "", "portLevelMtls: {80: {mode: UNSET}}", kNone, ""},
  };
  for (const Case& row : kCases) check(row);
}

TEST(PeerAuthentication, StaticStrictIsThereExactlyWhereItCanBeNamed) {
  Compiler compiler({});
  compiler.apply(changes_of(peer("shop", "a", "{mtls: {mode: PERMISSIVE}}")));
  EXPECT_EQ(body_of(compiler, kStrict), "");
  compiler.apply(changes_of(peer("shop", "a", "{mtls: {mode: STRICT}}")));
  EXPECT_EQ(body_of(compiler, kStrict),
            R"({"name":"istio_converted_static_strict","namespace":"istio-system",)"
            R"("scope":"WORKLOAD_SELECTOR","action":"DENY","rules":[{"clauses":[)"
            R"({"matches":[{"notPrincipals":[{"presence":{}}]}]}]}]})");
  EXPECT_THAT(steps(compiler.apply({removal("PeerAuthentication", "shop", "a")})),
              ElementsAre(std::string("-") + kStrict));
}

TEST(PeerAuthentication, TheOldestWins) {
  const std::string web = pod("shop", "web", "app: web", "10.0.0.1");
  const auto strict = [&](const std::string& peers) {
    Compiler compiler({});
    compiler.apply(changes_of(web + peers));
    return body_of(compiler, "Kubernetes//Pod/shop/web").contains("static_strict");
  };
  const std::string selector = "selector: {matchLabels: {app: web}}, ";
  EXPECT_TRUE(strict(peer("shop", "b", "{mtls: {mode: STRICT}}", 2020) +
                     peer("shop", "a", "{mtls: {mode: PERMISSIVE}}", 2021)));
  EXPECT_FALSE(strict(peer("shop", "b", "{mtls: {mode: STRICT}}", 2022) +
                      peer("shop", "a", "{mtls: {mode: PERMISSIVE}}", 2021)));
  EXPECT_FALSE(strict(peer("shop", "b", "{mtls: {mode: STRICT}}", 2021) +
                      peer("shop", "a", "{mtls: {mode: PERMISSIVE}}", 2021)));  // then by name
  EXPECT_TRUE(strict(peer("shop", "b", "{" + selector + "mtls: {mode: STRICT}}", 2020) +
                     peer("shop", "a", "{" + selector + "mtls: {mode: PERMISSIVE}}", 2021)));
  EXPECT_TRUE(strict(peer("istio-system", "b", "{mtls: {mode: STRICT}}", 2020) +
                     peer("istio-system", "a", "{mtls: {mode: PERMISSIVE}}", 2021)));
}

TEST(PeerAuthentication, OfTheRootNamespace) {
  Compiler compiler({.root_namespace = "mesh"});
  compiler.apply(changes_of(pod("mesh", "web", "app: web", "10.0.0.1") +
                            pod("shop", "web", "app: web", "10.0.0.2") +
                            peer("mesh", "a",
                                 "{selector: {matchLabels: {app: web}}, mtls: {mode: STRICT}, "
                                 "portLevelMtls: {80: {mode: DISABLE}}}")));
  EXPECT_THAT(body_of(compiler, "Kubernetes//Pod/mesh/web"),
              testing::Not(HasSubstr("authorizationPolicies")));
  EXPECT_THAT(warnings(compiler),
              ElementsAre(HasSubstr("PeerAuthentication/mesh/a: has no effect: a selector"),
                          HasSubstr("DISABLE is taken for PERMISSIVE")));
  compiler.apply(changes_of(peer("mesh", "a", "{mtls: {mode: STRICT}}")));
  for (const char* name : {"Kubernetes//Pod/mesh/web", "Kubernetes//Pod/shop/web"}) {
    EXPECT_THAT(body_of(compiler, name),
                HasSubstr(R"("authorizationPolicies":["mesh/istio_converted_static_strict"])"));
  }
  EXPECT_THAT(warnings(compiler), IsEmpty());
}

}  // namespace
}  // namespace weft::compile
