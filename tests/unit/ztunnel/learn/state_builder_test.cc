#include "ztunnel/learn/state_builder.h"

#include "tests/unit/ztunnel/learn/builders.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace weft::learn {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;
using ::testing::UnorderedElementsAre;
using namespace weft::learn::testing;

const char* const kOrders = "shop/orders.shop.svc.cluster.local";
const std::string kInOrders =
    "services { key: 'shop/orders.shop.svc.cluster.local' value { ports { service_port: 80 "
    "target_port: 8080 } } }";

IpAddress pod_ip(uint8_t last) { return IpAddress::v4(0x0a000000U + last); }
IpAddress vip(uint8_t last) { return IpAddress::v4(0x0a600000U + last); }

policy::Connection from_nobody() {
  return {std::nullopt, pod_ip(9), SocketAddress{pod_ip(1), 8080}};
}

// A builder with one pod "a" and a complete set of both types.
class Builder : public ::testing::Test {
 protected:
  Builder() {
    DeltaResponse response = addresses();
    add_pod(response, "a", 1);
    EXPECT_THAT(builder_.apply(response), IsEmpty());
    EXPECT_THAT(builder_.apply(authorizations()), IsEmpty());
  }
  // Whether a plain-text connection to pod "a" is let in; nothing: undecided, so refused.
  std::optional<bool> lets_in() {
    const auto state = builder_.publish();
    const auto policies = state->policies_for(*state->workload_by_uid(pod_uid("a")));
    if (!policies) return std::nullopt;
    return policy::authorize(*policies, from_nobody()).allowed;
  }
  StateBuilder builder_{"Kubernetes"};
};

TEST(StateBuilderTest, NothingIsDecidedBeforeTheFirstPolicies) {
  StateBuilder builder("Kubernetes");
  DeltaResponse response = addresses();
  add_pod(response, "a", 1);
  builder.apply(response);
  auto state = builder.publish();
  const auto workload = state->workload_by_uid(pod_uid("a"));
  ASSERT_NE(workload, nullptr);
  EXPECT_EQ(state->policies_for(*workload).error().code, Code::kUnavailable);
  EXPECT_FALSE(state->data().complete());

  builder.apply(authorizations());
  state = builder.publish();
  EXPECT_EQ(state->policies_for(*workload).value(), policy::PolicySets{});
  EXPECT_TRUE(state->data().complete());
}

TEST_F(Builder, FindsAWorkloadByEveryKey) {
  const auto state = builder_.publish();
  const auto workload = state->workload_by_ip(pod_ip(1));
  ASSERT_NE(workload, nullptr);
  EXPECT_EQ(workload->identity.to_string(), "spiffe://cluster.local/ns/shop/sa/sa-a");
  EXPECT_TRUE(workload->hbone);
  EXPECT_EQ(workload->capacity, 1U);
  EXPECT_EQ(state->workload_by_uid(pod_uid("a")), workload);
  EXPECT_EQ(state->workload_of_pod("shop", "a"), workload);
  EXPECT_EQ(state->workload_of_pod("shop", "b"), nullptr);
  EXPECT_EQ(state->workload_by_ip(pod_ip(2)), nullptr);
}

TEST_F(Builder, JoinsEndpointsInWhateverOrderTheyCome) {
  DeltaResponse pods = addresses();
  add_pod(pods, "b", 2, kInOrders);
  builder_.apply(pods);
  EXPECT_EQ(builder_.publish()->service_by_key(kOrders), nullptr);

  DeltaResponse services = addresses();
  add_service(services, "orders", 7,
              "ports { service_port: 80 } ports { service_port: 81 target_port: 9090 }");
  builder_.apply(services);
  DeltaResponse more = addresses();
  add_pod(more, "c", 3, kInOrders);
  builder_.apply(more);

  const auto state = builder_.publish();
  const auto service = state->service_by_address(vip(7), "shop");
  ASSERT_NE(service, nullptr);
  ASSERT_EQ(service->endpoints.size(), 2U);
  EXPECT_EQ(service->endpoints[0].workload->name, "b");
  EXPECT_THAT(service->endpoints[1].ports, UnorderedElementsAre(Pair(80, 8080), Pair(81, 9090)));

  DeltaResponse removed = addresses();
  removed.add_removed_resources(pod_uid("b"));
  builder_.apply(removed);
  EXPECT_EQ(builder_.publish()->service_by_address(vip(7), "shop")->endpoints.size(), 1U);
  EXPECT_EQ(service->endpoints.size(), 2U) << "a published service never changes";

  removed.clear_removed_resources();
  removed.add_removed_resources(kOrders);
  builder_.apply(removed);
  EXPECT_EQ(builder_.publish()->service_by_address(vip(7), "shop"), nullptr);
}

TEST_F(Builder, AnAddressThatTwoClaimGoesToTheOtherWhenOneLeaves) {
  DeltaResponse response = addresses();
  add_pod(response, "b", 1);
  builder_.apply(response);
  EXPECT_EQ(builder_.publish()->workload_by_ip(pod_ip(1))->name, "a");
  DeltaResponse removed = addresses();
  removed.add_removed_resources(pod_uid("a"));
  builder_.apply(removed);
  EXPECT_EQ(builder_.publish()->workload_by_ip(pod_ip(1))->name, "b");
}

TEST_F(Builder, HostNetworkPodsAreNotFoundByTheNodesAddress) {
  DeltaResponse response = addresses();
  add_pod(response, "host", 9, "network_mode: HOST_NETWORK");
  builder_.apply(response);
  EXPECT_EQ(builder_.publish()->workload_by_ip(pod_ip(9)), nullptr);
  EXPECT_NE(builder_.publish()->workload_of_pod("shop", "host"), nullptr);
}

TEST_F(Builder, AnUpdateReplacesEverythingOfTheOldOne) {
  DeltaResponse response = addresses();
  add_pod(response, "a", 2, kInOrders, "2");
  builder_.apply(response);
  const auto state = builder_.publish();
  EXPECT_EQ(state->workload_by_ip(pod_ip(1)), nullptr);
  EXPECT_NE(state->workload_by_ip(pod_ip(2)), nullptr);
  EXPECT_THAT(builder_.versions(kAddressType), ElementsAre(Pair(pod_uid("a"), "2")));
}

TEST_F(Builder, ApplicationTunnels) {
  DeltaResponse response = addresses();
  add_pod(response, "proxy", 21, "application_tunnel { protocol: PROXY port: 15088 }");
  add_pod(response, "moved", 22, "application_tunnel { port: 15088 }");
  add_pod(response, "plain", 23);
  add_pod(response, "unknown", 24, "application_tunnel { protocol: 7 }");
  add_pod(response, "far", 25, "application_tunnel { port: 65536 }");
  std::map<std::string, std::string> refused;
  for (const auto& [name, error] : builder_.apply(response)) refused[name] = error;
  EXPECT_THAT(refused[pod_uid("unknown")],
              HasSubstr("application_tunnel.protocol: expected NONE or PROXY, got 7"));
  EXPECT_THAT(refused[pod_uid("far")], HasSubstr("application_tunnel.port"));
  EXPECT_EQ(refused.size(), 2U);
  const auto state = builder_.publish();
  const auto tunnel = [&state](int pod) {
    return state->workload_by_ip(pod_ip(pod))->application_tunnel;
  };
  ASSERT_TRUE(tunnel(21).has_value());
  EXPECT_TRUE(tunnel(21)->proxy_protocol);
  EXPECT_EQ(tunnel(21)->port, 15088);
  EXPECT_FALSE(tunnel(22)->proxy_protocol);
  EXPECT_FALSE(tunnel(23).has_value());
}

TEST_F(Builder, WrongAddressesAreRefusedByNameAndTheOthersApplied) {
  DeltaResponse response = addresses();
  add_pod(response, "a", 0, "addresses: 'abc'", "2");
  add_pod(response, "b", 2);
  add_pod(response, "legacy", 3, "");
  auto legacy = message<istio::workload::Address>(
      "workload { uid: 'x' namespace: 'n' tunnel_protocol: LEGACY_ISTIO_MTLS }");
  add(response, "x", "1", legacy);
  add(response, "misnamed", "1",
      message<istio::workload::Address>("workload { uid: 'other' namespace: 'n' }"));
  add(response, "empty", "1", message<istio::workload::Address>(""));
  add(response, "ports", "1",
      message<istio::workload::Address>("workload { uid: 'ports' namespace: 'n' services { key: "
                                        "'n/h' value { ports { service_port: 70000 } } } }"));
  XdsResource& garbage = *response.add_resources();
  garbage.set_name("garbage");
  garbage.mutable_resource()->set_type_url(std::string(kAddressType));
  garbage.mutable_resource()->set_value("\xff\xff\xff");
  XdsResource& foreign = *response.add_resources();
  foreign.set_name("foreign");
  foreign.mutable_resource()->set_type_url("type.googleapis.com/envoy.config.Cluster");

  std::map<std::string, std::string> refused;
  for (const auto& [name, error] : builder_.apply(response)) refused[name] = error;
  EXPECT_THAT(refused[pod_uid("a")], HasSubstr("addresses: an IP address has 4 or 16 bytes"));
  EXPECT_THAT(refused["x"], HasSubstr("tunnel_protocol: expected NONE or HBONE"));
  EXPECT_THAT(refused["misnamed"], HasSubstr("name differs"));
  EXPECT_THAT(refused["empty"], HasSubstr("expected a workload or a service"));
  EXPECT_THAT(refused["ports"], HasSubstr("services[n/h]: expected ports up to 65535"));
  EXPECT_THAT(refused["garbage"], HasSubstr("not a protobuf message"));
  EXPECT_THAT(refused["foreign"], HasSubstr("expected a resource of type"));
  EXPECT_EQ(refused.size(), 7U);

  const auto state = builder_.publish();
  EXPECT_NE(state->workload_by_ip(pod_ip(1)), nullptr) << "the last good version stays";
  EXPECT_NE(state->workload_by_ip(pod_ip(2)), nullptr);
  EXPECT_EQ(builder_.versions(kAddressType).at(pod_uid("a")), "1");
  EXPECT_FALSE(builder_.versions(kAddressType).contains("x"));
}

// Control does not do this; what counts is that nothing is left over and the last word holds.
TEST_F(Builder, ANameThatComesTwiceInOneResponse) {
  DeltaResponse policies = authorizations();
  add_policy(policies, "p", "scope: WORKLOAD_SELECTOR action: DENY rules {}");
  builder_.apply(policies);
  DeltaResponse twice = addresses();
  add_pod(twice, "b", 7, "authorization_policies: 'shop/p'", "1");
  add_pod(twice, "b", 8, "", "2");
  EXPECT_THAT(builder_.apply(twice), IsEmpty());
  auto state = builder_.publish();
  EXPECT_EQ(state->workload_by_ip(pod_ip(7)), nullptr);
  ASSERT_NE(state->workload_by_ip(pod_ip(8)), nullptr);
  EXPECT_THAT(state->workload_by_ip(pod_ip(8))->authorization_policies, IsEmpty());
  EXPECT_EQ(builder_.versions(kAddressType).at(pod_uid("b")), "2");
  // No workload names it any more, so it goes at once.
  DeltaResponse gone = authorizations();
  gone.add_removed_resources("shop/p");
  builder_.apply(gone);
  EXPECT_TRUE(builder_.publish()->data().authorization.policies.empty());

  DeltaResponse both = addresses();
  add_pod(both, "c", 9);
  both.add_removed_resources(pod_uid("c"));
  both.add_removed_resources(pod_uid("c"));
  both.add_removed_resources(pod_uid("nobody"));
  builder_.apply(both);
  EXPECT_EQ(builder_.publish()->workload_by_ip(pod_ip(9)), nullptr);
  EXPECT_FALSE(builder_.versions(kAddressType).contains(pod_uid("c")));
}

TEST_F(Builder, AResponseOfAnotherTypeIsRefused) {
  DeltaResponse response;
  response.set_type_url("type.googleapis.com/envoy.config.Cluster");
  EXPECT_EQ(builder_.apply(response).size(), 1U);
}

TEST_F(Builder, PoliciesApplyByScope) {
  const std::string deny = "action: DENY rules {} scope: ";
  struct Row {
    std::string name;
    std::string ns;
    std::string scope;
    bool refuses;
  };
  for (const Row& row :
       {Row{"g", "istio-system", "GLOBAL", true}, Row{"n", "shop", "NAMESPACE", true},
        Row{"n", "other", "NAMESPACE", false}, Row{"s", "shop", "WORKLOAD_SELECTOR", false}}) {
    DeltaResponse response = authorizations();
    add_policy(response, row.name, deny + row.scope, "1", row.ns);
    ASSERT_THAT(builder_.apply(response), IsEmpty());
    EXPECT_EQ(lets_in(), !row.refuses) << row.ns << " " << row.scope;
    DeltaResponse removed = authorizations();
    removed.add_removed_resources(row.ns + "/" + row.name);
    builder_.apply(removed);
    EXPECT_EQ(lets_in(), true);
  }
}

TEST_F(Builder, AWorkloadThatNamesAMissingPolicyIsRefused) {
  DeltaResponse pod = addresses();
  add_pod(pod, "a", 1, "authorization_policies: 'shop/late'");
  builder_.apply(pod);
  EXPECT_EQ(lets_in(), std::nullopt);
  DeltaResponse policy = authorizations();
  add_policy(policy, "late", "scope: WORKLOAD_SELECTOR action: ALLOW rules {}");
  builder_.apply(policy);
  EXPECT_EQ(lets_in(), true);
}

constexpr const char* kBadRule =
    "rules { clauses { matches { source_ips { address: 'abcd' length: 99 } } } } action: ALLOW ";

TEST_F(Builder, ARemovedPolicyStaysUntilNoWorkloadNamesIt) {
  DeltaResponse policies = authorizations();
  add_policy(policies, "p", "action: DENY scope: WORKLOAD_SELECTOR rules {}");
  builder_.apply(policies);
  DeltaResponse naming = addresses();
  add_pod(naming, "a", 1, "authorization_policies: 'shop/p'");
  builder_.apply(naming);
  EXPECT_EQ(lets_in(), false);

  // As on a new stream: Authorizations are told of before Addresses.
  DeltaResponse removal = authorizations();
  removal.add_removed_resources("shop/p");
  builder_.apply(removal);
  EXPECT_EQ(lets_in(), false);
  EXPECT_EQ(builder_.resources(kAuthorizationType).size(), 1U);

  DeltaResponse no_longer_naming = addresses();
  add_pod(no_longer_naming, "a", 1);
  builder_.apply(no_longer_naming);
  EXPECT_EQ(lets_in(), true);
  EXPECT_THAT(builder_.resources(kAuthorizationType), IsEmpty());
}

TEST_F(Builder, APolicyThatComesBackIsNotRemovedAfterAll) {
  DeltaResponse policies = authorizations();
  add_policy(policies, "p", "action: DENY scope: WORKLOAD_SELECTOR rules {}");
  builder_.apply(policies);
  DeltaResponse naming = addresses();
  add_pod(naming, "a", 1, "authorization_policies: 'shop/p'");
  builder_.apply(naming);
  DeltaResponse removal = authorizations();
  removal.add_removed_resources("shop/p");
  builder_.apply(removal);
  builder_.apply(policies);
  DeltaResponse other = addresses();
  add_pod(other, "a", 1);
  builder_.apply(other);
  EXPECT_EQ(builder_.resources(kAuthorizationType).size(), 1U);
}

TEST_F(Builder, APolicyThatTurnsBadKeepsItsLastGoodVersion) {
  DeltaResponse good = authorizations();
  add_policy(good, "p", "scope: NAMESPACE action: ALLOW rules {}");
  builder_.apply(good);
  DeltaResponse bad = authorizations();
  add_policy(bad, "p", std::string("scope: NAMESPACE ") + kBadRule, "2");
  ASSERT_EQ(builder_.apply(bad).size(), 1U);
  EXPECT_EQ(lets_in(), true);
  EXPECT_THAT(builder_.versions(kAuthorizationType), ElementsAre(Pair("shop/p", "1")));
}

TEST_F(Builder, APolicyThatNeverWasGoodDeniesItsScope) {
  const auto apply_bad = [&](const std::string& scope, const std::string& ns) {
    DeltaResponse bad = authorizations();
    add_policy(bad, "p", "scope: " + scope + " " + kBadRule, "1", ns);
    const auto rejections = builder_.apply(bad);
    ASSERT_EQ(rejections.size(), 1U);
    EXPECT_EQ(rejections[0].name, ns + "/p");
    EXPECT_THAT(rejections[0].error, HasSubstr("at most 32 bits"));
  };
  const auto remove = [&](const std::string& ns) {
    DeltaResponse removed = authorizations();
    removed.add_removed_resources(ns + "/p");
    builder_.apply(removed);
  };
  apply_bad("NAMESPACE", "other");
  EXPECT_EQ(lets_in(), true) << "it covers another namespace";
  remove("other");
  apply_bad("NAMESPACE", "shop");
  EXPECT_EQ(lets_in(), false);
  EXPECT_THAT(builder_.versions(kAuthorizationType), ElementsAre(Pair("shop/p", "")))
      << "named, so that control tells its removal, and sent again";
  remove("shop");
  EXPECT_EQ(lets_in(), true);
  apply_bad("GLOBAL", "istio-system");
  EXPECT_EQ(lets_in(), false);
  remove("istio-system");
  apply_bad("WORKLOAD_SELECTOR", "shop");
  EXPECT_EQ(lets_in(), true);
  DeltaResponse pod = addresses();
  add_pod(pod, "a", 1, "authorization_policies: 'shop/p'");
  builder_.apply(pod);
  EXPECT_EQ(lets_in(), false);

  DeltaResponse repaired = authorizations();
  add_policy(repaired, "p", "scope: WORKLOAD_SELECTOR action: ALLOW rules {}", "2");
  EXPECT_THAT(builder_.apply(repaired), IsEmpty());
  EXPECT_EQ(lets_in(), true);
}

TEST_F(Builder, APolicyThatCannotBeReadAtAllDeniesEveryone) {
  for (const char* name : {"shop/p", "other/p", "", "/", "no-slash", "a/b/c"}) {
    DeltaResponse bad = authorizations();
    XdsResource& resource = *bad.add_resources();
    resource.set_name(name);
    resource.mutable_resource()->set_type_url(std::string(kAuthorizationType));
    resource.mutable_resource()->set_value("\xff\xff");
    EXPECT_EQ(builder_.apply(bad).size(), 1U);
    EXPECT_EQ(lets_in(), false) << name;
    DeltaResponse removed = authorizations();
    removed.add_removed_resources(name);
    builder_.apply(removed);
    EXPECT_EQ(lets_in(), true) << name;
  }
}

TEST_F(Builder, ABadDryRunPolicyDecidesNothing) {
  DeltaResponse bad = authorizations();
  add_policy(bad, "p", std::string("dry_run: true scope: GLOBAL ") + kBadRule);
  EXPECT_EQ(builder_.apply(bad).size(), 1U);
  EXPECT_EQ(lets_in(), true);
}

TEST_F(Builder, AnUnknownScopeOrActionDeniesEveryone) {
  for (const bool scope : {true, false}) {
    auto authorization = message<istio::security::Authorization>(
        "name: 'p' namespace: 'other' scope: NAMESPACE action: ALLOW rules {}");
    if (scope) {
      authorization.set_scope(static_cast<istio::security::Scope>(9));
    } else {
      authorization.set_scope(istio::security::GLOBAL);
      authorization.set_action(static_cast<istio::security::Action>(9));
    }
    DeltaResponse bad = authorizations();
    add(bad, "other/p", "1", authorization);
    EXPECT_EQ(builder_.apply(bad).size(), 1U);
    EXPECT_EQ(lets_in(), false);
    DeltaResponse removed = authorizations();
    removed.add_removed_resources("other/p");
    builder_.apply(removed);
  }
}

// What decides who may connect must not wait for a storm of addresses to pass, and what does not
// must not have every connection judged again.
TEST(StateBuilderUrgency, IsOfPolicies) {
  StateBuilder builder("Kubernetes");
  const auto apply = [&](const DeltaResponse& response) {
    builder.apply(response);
    const bool urgent = builder.is_urgent();
    return std::pair(urgent, builder.publish()->policy_generation());
  };
  DeltaResponse pods = addresses();
  add_pod(pods, "a", 1);
  EXPECT_TRUE(apply(pods).first) << "the first set";
  uint64_t last = apply(authorizations()).second;
  const auto expect = [&](const DeltaResponse& response, bool urgent, bool judged_again) {
    const auto [was_urgent, generation] = apply(response);
    EXPECT_EQ(was_urgent, urgent) << response.ShortDebugString();
    EXPECT_EQ(generation != last, judged_again) << response.ShortDebugString();
    last = generation;
  };
  DeltaResponse moved = addresses();
  add_pod(moved, "a", 2, "", "2");
  expect(moved, false, false);
  DeltaResponse policy = authorizations();
  add_policy(policy, "deny", "action: DENY rules {}");
  expect(policy, true, true);
  DeltaResponse bound = addresses();
  add_pod(bound, "a", 2, "authorization_policies: 'shop/deny'", "3");
  expect(bound, true, true);
  DeltaResponse same = addresses();
  add_pod(same, "a", 3, "authorization_policies: 'shop/deny'", "4");
  expect(same, false, false);
  DeltaResponse other = addresses();
  add_pod(other, "b", 4, "authorization_policies: 'shop/deny'");
  expect(other, false, true);
  DeltaResponse gone = authorizations();
  gone.add_removed_resources("shop/nothing");
  expect(gone, true, true);
}

}  // namespace
}  // namespace weft::learn
