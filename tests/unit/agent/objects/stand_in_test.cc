#include "agent/objects/stand_in.h"

#include "proto/crd/security.pb.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace weft::objects {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;

// "AuthorizationPolicy/shop/p DENY a=b", "PeerAuthentication/shop/p STRICT"; "=" for one that is
// given as it is.
std::vector<std::string> lines_of(const std::string& text, const std::string& origin = "f.yaml") {
  std::vector<std::string> lines;
  for (const auto& object : security_of(text, origin)) {
    std::string line = object->key().to_string();
    if (!object->metadata().annotations().contains(kUnreadableAnnotation)) {
      lines.push_back(line + " =");
      continue;
    }
    const auto* policy = object->as<crd::security::AuthorizationPolicy>();
    const auto* peer = object->as<crd::security::PeerAuthentication>();
    if (policy != nullptr) {
      EXPECT_EQ(policy->spec().action(), crd::security::AuthorizationPolicySpec::DENY);
      EXPECT_EQ(policy->spec().rules_size(), 1);
      EXPECT_EQ(policy->spec().rules(0).ByteSizeLong(), 0U) << "matches everyone";
    } else {
      EXPECT_EQ(peer->spec().mtls().mode(), crd::security::MutualTls::STRICT);
    }
    line += policy != nullptr ? " DENY" : " STRICT";
    const auto& selector = policy != nullptr ? policy->spec().selector() : peer->spec().selector();
    for (const auto& [key, value] : selector.matchlabels()) line += " " + key + "=" + value;
    lines.push_back(line);
  }
  return lines;
}

std::string document(const std::string& kind, const std::string& metadata,
                     const std::string& spec) {
  return "---\napiVersion: security.istio.io/v1\nkind: " + kind + "\nmetadata: " + metadata +
         "\nspec: " + spec + "\n";
}
std::string policy(const std::string& spec,
                   const std::string& metadata = "{namespace: shop, name: p}") {
  return document("AuthorizationPolicy", metadata, spec);
}

TEST(StandIn, DeniesThoseThatThePolicyMayHaveBeenFor) {
  struct Row {
    std::string text;
    std::string stand_in;
  };
  const std::string whole = "AuthorizationPolicy/shop/p DENY";
  const Row kRows[] = {
      {policy("{action: ALLOW, rule: []}"), whole},
      {policy("{selector: {matchLabels: {a: b}}, action: DENI}"), whole + " a=b"},
      {policy("{selector: {matchLabel: {a: b}}, action: DENY}"), whole},
      {policy("{selector: {matchLabels: {a: 1}}, action: DENY}"), whole},
      {policy("{selector: {matchLabels: {a: b}, x: y}}"), whole},
      {policy("just words"), whole},
      {policy("{action: CUSTOM}"), whole},
      {document("PeerAuthentication", "{namespace: shop, name: p}", "{mtls: {mode: STRICTEST}}"),
       "PeerAuthentication/shop/p STRICT"},
      {policy("{rule: []}", "{name: p}"), "AuthorizationPolicy/default/p DENY"},
      {policy("{rule: []}", "{namespace: Shop, name: p}"), "AuthorizationPolicy/default/p DENY"},
      {"apiVersion: v1\nkind: List\nitems:\n- {apiVersion: security.istio.io/v1, kind: "
       "AuthorizationPolicy, metadata: {namespace: shop, name: p}, spec: {rule: []}}\n",
       whole},
  };
  for (const Row& row : kRows)
    EXPECT_THAT(lines_of(row.text), ElementsAre(row.stand_in)) << row.text;
}

TEST(StandIn, GoodPoliciesOfTheSameTextStay) {
  EXPECT_THAT(
      lines_of(policy("{rules: [{}]}", "{namespace: shop, name: good}") + policy("{rule: []}") +
               "---\napiVersion: v1\nkind: ConfigMap\n"
               "metadata: {name: m}\ndata: {k: v}\n"),
      ElementsAre("AuthorizationPolicy/shop/good =", "AuthorizationPolicy/shop/p DENY"));
}

TEST(StandIn, ThoseWithoutAUsableNameDoNotTakeEachOthersPlace) {
  const auto lines = lines_of(policy("{rule: []}", "{namespace: shop}") +
                              policy("{rule: []}", "{namespace: shop, name: UPPER}"));
  ASSERT_EQ(lines.size(), 2U);
  EXPECT_THAT(lines, testing::Each(StartsWith("AuthorizationPolicy/shop/unreadable-")));
  EXPECT_NE(lines[0], lines[1]);
  EXPECT_NE(lines[0], lines_of(policy("{rule: []}", "{namespace: shop}"), "g.yaml").front());
}

TEST(StandIn, WhatRefusesNobodyHasNone) {
  EXPECT_THAT(lines_of(policy("{action: AUDIT, rule: []}")), IsEmpty());
  EXPECT_THAT(lines_of(policy("{targetRefs: [], rule: []}")), IsEmpty());
  EXPECT_THAT(lines_of(policy("{rule: []}",
                              "{namespace: shop, name: p, annotations: "
                              "{istio.io/dry-run: \"true\"}}")),
              IsEmpty());
  EXPECT_THAT(lines_of("apiVersion: v1\nkind: Pod\nmetadata: {name: x}\nspec: 5\n"), IsEmpty());
  EXPECT_THAT(lines_of("apiVersion: other/v1\nkind: AuthorizationPolicy\nspec: 5\n"), IsEmpty());
}

TEST(StandIn, OfBrokenTextTheNameOfTheFileIsKnown) {
  const std::string file = "/objects/AuthorizationPolicy_shop_p.json";
  EXPECT_THAT(lines_of("{\"kind\": ", file), ElementsAre("AuthorizationPolicy/shop/p DENY"));
  EXPECT_THAT(lines_of("{\"kind\": ", "/objects/Pod_shop_p.json"), IsEmpty());
  EXPECT_THAT(lines_of("{\"kind\": ", "/objects/some.json"), IsEmpty());
}

TEST(StandIn, SaysWhy) {
  const auto found = security_of(policy("{rule: []}"), "f.yaml");
  ASSERT_EQ(found.size(), 1U);
  EXPECT_THAT(found[0]->metadata().annotations().at(kUnreadableAnnotation),
              HasSubstr("AuthorizationPolicy/shop/p: spec.rule"));
}

}  // namespace
}  // namespace weft::objects
