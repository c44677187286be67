#include "agent/xds/subscription.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace weft::xds {
namespace {

using envoy::service::discovery::v3::DeltaDiscoveryRequest;
using envoy::service::discovery::v3::DeltaDiscoveryResponse;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using Names = std::vector<std::string>;

const std::string kAuthorization(kAuthorizationType);
const std::string kAddress(kAddressType);

compile::Resource present(const std::string& type, const std::string& name,
                          const std::string& version, size_t size = 8) {
  return {type, name, version, std::string(size, 'x'), false};
}
compile::Resource gone(const std::string& type, const std::string& name) {
  return {type, name, "", "", true};
}

// A store and one client, and what the client was told.
class Delta : public testing::Test {
 protected:
  // What a batch says: "+name@version" and "-name".
  struct Told {
    std::string type;
    std::string nonce;
    Names what;
  };

  void update(std::vector<compile::Resource> changes) {
    for (const auto& one : store_.update(std::move(changes))) {
      client_.mark(one, store_.sequence());
    }
  }
  Subscription::Answer request(const std::string& type, const Names& subscribe = {},
                               const std::map<std::string, std::string>& versions = {},
                               const Names& unsubscribe = {}) {
    DeltaDiscoveryRequest request;
    request.set_type_url(std::string(kTypeUrlPrefix) + type);
    for (const auto& name : subscribe) request.add_resource_names_subscribe(name);
    for (const auto& name : unsubscribe) request.add_resource_names_unsubscribe(name);
    request.mutable_initial_resource_versions()->insert(versions.begin(), versions.end());
    return *client_.take(request, store_);
  }
  Subscription::Answer answer(const Told& told, const std::string& error = "") {
    DeltaDiscoveryRequest request;
    request.set_type_url(std::string(kTypeUrlPrefix) + told.type);
    request.set_response_nonce(told.nonce);
    if (!error.empty()) request.mutable_error_detail()->set_message(error);
    return *client_.take(request, store_);
  }
  std::optional<Told> next() {
    const auto batch = client_.next(store_);
    if (!batch) return std::nullopt;
    Told told{batch->type, batch->nonce, {}};
    const auto say = [&](const Snapshot::Resources& resources) {
      for (const auto& [name, entry] : resources) {
        told.what.push_back("+" + *name + "@" + *entry->version);
      }
    };
    if (batch->all) say(batch->all->resources());
    say(batch->resources);
    for (const auto& name : batch->removed) told.what.push_back("-" + *name);
    return told;
  }
  // Takes the next batch, which must be of this type, and acknowledges it.
  Names accept(const std::string& type) {
    const auto told = next();
    if (!told || told->type != type) return {"nothing of the type"};
    EXPECT_TRUE(answer(*told).acked);
    return told->what;
  }

  Store store_;
  Subscription client_;
};

TEST_F(Delta, WildcardGetsEverythingAndThenChanges) {
  update({present(kAddress, "a", "1"), present(kAddress, "b", "1")});
  EXPECT_FALSE(next());
  request(kAddress);
  EXPECT_THAT(accept(kAddress), ElementsAre("+a@1", "+b@1"));
  EXPECT_FALSE(next());
  update({present(kAddress, "b", "2"), present(kAddress, "c", "1"), gone(kAddress, "a")});
  EXPECT_THAT(accept(kAddress), ElementsAre("+b@2", "+c@1", "-a"));
  update({present(kAddress, "b", "2"), gone(kAddress, "never")});
  EXPECT_FALSE(next());
}

TEST_F(Delta, StarIsTheWildcardToo) {
  update({present(kAddress, "a", "1")});
  request(kAddress, {"*"});
  EXPECT_THAT(accept(kAddress), ElementsAre("+a@1"));
}

TEST_F(Delta, FirstResponseComesEvenWhenEmpty) {
  request(kAuthorization);
  const auto first = next();
  ASSERT_TRUE(first);
  EXPECT_THAT(first->what, IsEmpty());
  answer(*first);
  EXPECT_FALSE(next());
}

TEST_F(Delta, ReconnectSendsTheDifference) {
  update({present(kAddress, "same", "1"), present(kAddress, "changed", "2"),
          present(kAddress, "new", "1")});
  request(kAddress, {}, {{"same", "1"}, {"changed", "1"}, {"gone", "7"}});
  EXPECT_THAT(accept(kAddress), ElementsAre("+changed@2", "+new@1", "-gone"));
  update({gone(kAddress, "same")});
  EXPECT_THAT(accept(kAddress), ElementsAre("-same"));
}

TEST_F(Delta, ReconnectWithNothingNewIsAnsweredEmpty) {
  update({present(kAddress, "same", "1")});
  request(kAddress, {}, {{"same", "1"}});
  EXPECT_THAT(accept(kAddress), IsEmpty());
}

TEST_F(Delta, NamesAloneAreServedAlone) {
  update({present(kAddress, "a", "1"), present(kAddress, "b", "1")});
  request(kAddress, {"a", "missing"});
  EXPECT_THAT(accept(kAddress), ElementsAre("+a@1", "-missing"));
  update({present(kAddress, "b", "2"), present(kAddress, "missing", "1")});
  EXPECT_THAT(accept(kAddress), ElementsAre("+missing@1"));
  request(kAddress, {"b"}, {}, {"a"});
  EXPECT_THAT(accept(kAddress), ElementsAre("+b@2"));
  update({present(kAddress, "a", "2")});
  EXPECT_FALSE(next());
}

TEST_F(Delta, AskingAgainSendsAgain) {
  update({present(kAddress, "a", "1")});
  request(kAddress, {"a"});
  EXPECT_THAT(accept(kAddress), ElementsAre("+a@1"));
  request(kAddress, {"a"});
  EXPECT_THAT(accept(kAddress), ElementsAre("+a@1"));
}

TEST_F(Delta, NamesWithVersionsAreNotSentAgain) {
  update({present(kAddress, "a", "1"), present(kAddress, "b", "1")});
  request(kAddress, {"a"}, {{"a", "1"}, {"b", "0"}});
  EXPECT_THAT(accept(kAddress), IsEmpty());
  update({present(kAddress, "b", "2")});
  EXPECT_FALSE(next());
}

TEST_F(Delta, LeavingTheWildcardKeepsTheNames) {
  update({present(kAddress, "a", "1"), present(kAddress, "b", "1")});
  request(kAddress, {"*", "a"});
  EXPECT_THAT(accept(kAddress), ElementsAre("+a@1", "+b@1"));
  request(kAddress, {}, {}, {"*"});
  update({present(kAddress, "a", "2"), present(kAddress, "b", "2")});
  EXPECT_THAT(accept(kAddress), ElementsAre("+a@2"));
}

TEST_F(Delta, LeavingANameUnderTheWildcardIsAnswered) {
  update({present(kAddress, "a", "1")});
  request(kAddress, {"*", "a", "missing"});
  EXPECT_THAT(accept(kAddress), ElementsAre("+a@1", "-missing"));
  request(kAddress, {}, {}, {"a", "missing"});
  EXPECT_THAT(accept(kAddress), ElementsAre("+a@1", "-missing"));
}

TEST_F(Delta, OnDemandStartsWithoutTheWildcard) {
  update({present(kAddress, "a", "1")});
  request(kAddress, {}, {}, {"*"});
  EXPECT_THAT(accept(kAddress), IsEmpty());
  request(kAddress, {"a"});
  EXPECT_THAT(accept(kAddress), ElementsAre("+a@1"));
}

TEST_F(Delta, OneResponseOfATypeIsInFlight) {
  request(kAddress);
  const auto first = next();
  ASSERT_TRUE(first);
  update({present(kAddress, "a", "1")});
  EXPECT_FALSE(next());
  update({present(kAddress, "a", "2")});
  EXPECT_FALSE(next());
  answer(*first);
  EXPECT_THAT(accept(kAddress), ElementsAre("+a@2"));
}

TEST_F(Delta, OldNoncesAnswerNothing) {
  request(kAddress);
  const auto first = next();
  const auto wrong = answer({kAddress, "not this one", {}});
  EXPECT_FALSE(wrong.acked || wrong.nacked);
  update({present(kAddress, "a", "1")});
  EXPECT_FALSE(next());
  EXPECT_TRUE(answer(*first).acked);
  const auto again = answer(*first, "late");
  EXPECT_FALSE(again.acked || again.nacked);
  EXPECT_THAT(accept(kAddress), ElementsAre("+a@1"));
}

TEST_F(Delta, WhatWasRefusedWaitsForAChange) {
  update({present(kAuthorization, "bad", "1"), present(kAuthorization, "good", "1")});
  request(kAuthorization);
  const auto first = next();
  const auto nack = answer(*first, std::string(5000, 'r'));
  EXPECT_TRUE(nack.nacked);
  EXPECT_EQ(nack.reason.size(), kNackBytesMax);
  ASSERT_EQ(nack.refused.size(), 2U);
  EXPECT_EQ(*nack.refused.front(), "bad");
  EXPECT_FALSE(next());
  update({present(kAuthorization, "good", "2")});
  EXPECT_THAT(accept(kAuthorization), ElementsAre("+good@2"));
  update({present(kAuthorization, "bad", "2")});
  EXPECT_THAT(accept(kAuthorization), ElementsAre("+bad@2"));
}

TEST_F(Delta, ReasonsAreCutBetweenCharacters) {
  request(kAuthorization);
  const auto nack = answer(*next(), "x" + std::string(kNackBytesMax - 2, 'y') + "\u00e9 and more");
  EXPECT_EQ(nack.reason, "x" + std::string(kNackBytesMax - 2, 'y'));
}

TEST_F(Delta, PoliciesGoBeforeTheAddressesThatNeedThem) {
  request(kAddress);
  request(kAuthorization);
  accept(kAuthorization);
  accept(kAddress);
  update({present(kAuthorization, "p", "1"), present(kAddress, "a", "1")});
  const auto policy = next();
  ASSERT_TRUE(policy);
  EXPECT_THAT(policy->what, ElementsAre("+p@1"));
  EXPECT_FALSE(next());
  // An Address of a later update may depend on the same policy, too.
  update({present(kAddress, "b", "1")});
  EXPECT_FALSE(next());
  // One that was refused is answered as well.
  answer(*policy, "no");
  EXPECT_THAT(accept(kAddress), ElementsAre("+a@1", "+b@1"));
}

TEST_F(Delta, FirstAddressesWaitForFirstPolicies) {
  update({present(kAddress, "a", "1")});
  request(kAuthorization);
  request(kAddress);
  const auto policies = next();
  EXPECT_EQ(policies->type, kAuthorization);
  // Empty, so no Address needs to wait for its answer.
  EXPECT_THAT(accept(kAddress), ElementsAre("+a@1"));
}

TEST_F(Delta, PoliciesLeaveAfterTheAddressesThatNeededThem) {
  update({present(kAuthorization, "p", "1"), present(kAddress, "a", "1"),
          present(kAddress, "b", "1")});
  request(kAuthorization);
  request(kAddress);
  accept(kAuthorization);
  accept(kAddress);
  update({present(kAddress, "a", "2"), gone(kAddress, "b"), gone(kAuthorization, "p")});
  const auto addresses = next();
  ASSERT_TRUE(addresses);
  EXPECT_THAT(addresses->what, ElementsAre("+a@2", "-b"));
  EXPECT_FALSE(next());
  answer(*addresses);
  EXPECT_THAT(accept(kAuthorization), ElementsAre("-p"));
}

TEST_F(Delta, PoliciesLeaveAtOnceWhereNobodyAskedForAddresses) {
  update({present(kAuthorization, "p", "1")});
  request(kAuthorization);
  accept(kAuthorization);
  update({gone(kAuthorization, "p")});
  EXPECT_THAT(accept(kAuthorization), ElementsAre("-p"));
}

TEST_F(Delta, ReconnectKeepsTheOrderToo) {
  update({present(kAuthorization, "new", "1"), present(kAddress, "a", "2")});
  request(kAuthorization, {}, {{"old", "1"}});
  request(kAddress, {}, {{"a", "1"}});
  EXPECT_THAT(accept(kAuthorization), ElementsAre("+new@1"));
  EXPECT_THAT(accept(kAddress), ElementsAre("+a@2"));
  EXPECT_THAT(accept(kAuthorization), ElementsAre("-old"));
}

TEST_F(Delta, AStormOfPoliciesDoesNotStarveAddresses) {
  request(kAuthorization);
  request(kAddress);
  accept(kAuthorization);
  accept(kAddress);
  update({present(kAuthorization, "p", "0"), present(kAddress, "a", "1")});
  auto policy = next();
  for (int round = 1;; ++round) {
    ASSERT_LT(round, 4) << "the address was never sent";
    update({present(kAuthorization, "p", std::to_string(round))});
    answer(*policy);
    policy = next();
    ASSERT_TRUE(policy);
    if (const auto address = next()) {
      EXPECT_THAT(address->what, ElementsAre("+a@1"));
      break;
    }
  }
}

TEST_F(Delta, AClientThatDoesNotReadCostsABoundedSetOfNames) {
  update({present(kAddress, "stays", "1"), present(kAddress, "goes", "1")});
  request(kAddress);
  const auto first = next();
  for (int i = 0; i < 10'000; ++i) {
    const std::string pod = "pod-" + std::to_string(i);
    update({present(kAddress, pod, "1"), present(kAddress, "stays", std::to_string(i))});
    update({gone(kAddress, pod)});
  }
  update({gone(kAddress, "goes")});
  EXPECT_EQ(client_.queued(), 2U);
  answer(*first);
  EXPECT_THAT(accept(kAddress), ElementsAre("+stays@9999", "-goes"));
  EXPECT_EQ(client_.queued(), 0U);
}

TEST_F(Delta, LargeUpdatesAreCutLaterOnesOnly) {
  const size_t half = kResponseBytesMax / 2;
  const auto three = [&](const std::string& version) {
    return std::vector{present(kAddress, "a", version, half), present(kAddress, "b", version, half),
                       present(kAddress, "c", version, half)};
  };
  update(three("1"));
  request(kAddress);
  EXPECT_THAT(accept(kAddress), ElementsAre("+a@1", "+b@1", "+c@1"));
  update(three("2"));
  EXPECT_THAT(accept(kAddress), ElementsAre("+a@2", "+b@2"));
  EXPECT_THAT(accept(kAddress), ElementsAre("+c@2"));
}

TEST_F(Delta, UnknownTypesAreAnsweredEmptyOnce) {
  const auto asked = request("envoy.config.cluster.v3.Cluster");
  EXPECT_TRUE(asked.is_new_unknown_type);
  EXPECT_FALSE(request("envoy.config.cluster.v3.Cluster", {"x"}).is_new_unknown_type);
  EXPECT_THAT(accept("envoy.config.cluster.v3.Cluster"), ElementsAre("-x"));
  EXPECT_FALSE(next());
}

TEST_F(Delta, BoundsEndTheStream) {
  const auto error_of = [&](const DeltaDiscoveryRequest& request) {
    const auto taken = client_.take(request, store_);
    return taken ? "no error" : taken.error().to_string();
  };
  DeltaDiscoveryRequest request;
  request.set_type_url("istio.workload.Address");
  EXPECT_THAT(error_of(request), HasSubstr("begins with type.googleapis.com/"));
  request.set_type_url(std::string(kTypeUrlPrefix) + kAddress);
  request.add_resource_names_subscribe(std::string(kNameBytesMax + 1, 'n'));
  EXPECT_THAT(error_of(request), HasSubstr("at most 1024 bytes"));
  request.clear_resource_names_subscribe();
  for (size_t i = 0; i < kTypesMax; ++i) {
    request.set_type_url(std::string(kTypeUrlPrefix) + "t" + std::to_string(i));
    EXPECT_EQ(error_of(request), "no error");
  }
  request.set_type_url(std::string(kTypeUrlPrefix) + "one more");
  EXPECT_THAT(error_of(request), HasSubstr("at most 16 types"));
  request.set_type_url(std::string(kTypeUrlPrefix) + "t0");
  for (size_t i = 0; i <= kNamesMax; ++i) {
    request.add_resource_names_subscribe(std::to_string(i));
  }
  EXPECT_THAT(error_of(request), HasSubstr("at most 200000 names"));
}

DeltaDiscoveryResponse parse(const Batch& batch) {
  DeltaDiscoveryResponse response;
  EXPECT_TRUE(
      response.ParseFromString((batch.all ? batch.all->wire() : std::string()) + encode(batch)));
  return response;
}

TEST_F(Delta, ResponsesSayWhatTheyHold) {
  update({present(kAddress, "a", "1"), present(kAddress, "b", "1")});
  for (const Names& asked : {Names{"a", "c"}, Names{"*", "c"}}) {
    Subscription client;
    DeltaDiscoveryRequest request;
    request.set_type_url(std::string(kTypeUrlPrefix) + kAddress);
    for (const auto& name : asked) request.add_resource_names_subscribe(name);
    ASSERT_TRUE(client.take(request, store_));
    const auto response = parse(*client.next(store_));
    EXPECT_EQ(response.type_url(), "type.googleapis.com/istio.workload.Address");
    EXPECT_FALSE(response.nonce().empty());
    ASSERT_EQ(response.resources_size(), asked.front() == "*" ? 2 : 1);
    EXPECT_EQ(response.resources(0).name(), "a");
    EXPECT_EQ(response.resources(0).version(), "1");
    EXPECT_EQ(response.resources(0).resource().type_url(), response.type_url());
    EXPECT_EQ(response.resources(0).resource().value(), "xxxxxxxx");
    EXPECT_THAT(response.removed_resources(), ElementsAre("c"));
  }
}

TEST_F(Delta, AllWhoAskForEverythingAtOnceShareIt) {
  update({present(kAddress, "a", "1")});
  const auto of_a_new_client = [&] {
    Subscription client;
    DeltaDiscoveryRequest request;
    request.set_type_url(std::string(kTypeUrlPrefix) + kAddress);
    EXPECT_TRUE(client.take(request, store_));
    return client.next(store_)->all;
  };
  const auto one = of_a_new_client();
  EXPECT_EQ(of_a_new_client(), one);
  update({present(kAuthorization, "p", "1")});
  EXPECT_EQ(of_a_new_client(), one);
  update({present(kAddress, "a", "2")});
  const auto other = of_a_new_client();
  EXPECT_NE(other, one);
  EXPECT_EQ(*one->resources().front().second->version, "1");
  EXPECT_EQ(*other->resources().front().second->version, "2");
}

TEST_F(Delta, WhatChangesBeforeTheFirstResponseIsInIt) {
  request(kAuthorization);
  request(kAddress);
  update({present(kAuthorization, "p", "1"), present(kAddress, "a", "1")});
  accept(kAuthorization);
  update({present(kAddress, "a", "2"), present(kAddress, "b", "1")});
  update({gone(kAddress, "b")});
  EXPECT_THAT(accept(kAddress), ElementsAre("+a@2"));
  EXPECT_FALSE(next());
}

TEST_F(Delta, FirstAddressesWaitForPoliciesThatCameWithThem) {
  request(kAuthorization);
  accept(kAuthorization);
  update({present(kAuthorization, "p", "1"), present(kAddress, "a", "1")});
  request(kAddress);
  const auto policy = next();
  ASSERT_TRUE(policy);
  EXPECT_THAT(policy->what, ElementsAre("+p@1"));
  EXPECT_FALSE(next());
  answer(*policy);
  EXPECT_THAT(accept(kAddress), ElementsAre("+a@1"));
}

TEST_F(Delta, WhatGoesAndComesBackWhileAResponseIsOutIsSettled) {
  update({present(kAddress, "a", "1")});
  request(kAddress);
  const auto first = next();
  update({gone(kAddress, "a")});
  update({present(kAddress, "a", "1")});
  answer(*first);
  EXPECT_FALSE(next());
  EXPECT_EQ(client_.queued(), 0U);
}

// What one waypoint is told is nobody else's to read, however it is asked for.
TEST_F(Delta, AWaypointIsToldItsOwnResourcesOnly) {
  const std::string routes = "weft.route.Routes";
  client_.restrict_to("shop/gate/");
  update({present(routes, "shop/gate/shop/web", "1"), present(routes, "shop/gate2/shop/web", "1"),
          present(routes, "bank/gate/bank/vault", "1")});
  request(routes, {"*", "bank/gate/bank/vault"}, {{"bank/gate/bank/old", "1"}});
  const auto told = next();
  ASSERT_TRUE(told);
  EXPECT_THAT(told->what, ElementsAre("+shop/gate/shop/web@1"));
  answer(*told);
  update({present(routes, "bank/gate/bank/vault", "2"), gone(routes, "shop/gate2/shop/web")});
  EXPECT_FALSE(next());
  update({present(routes, "shop/gate/shop/web", "2")});
  EXPECT_THAT(next()->what, ElementsAre("+shop/gate/shop/web@2"));
}

TEST_F(Delta, ANodeIsToldNothingOfWaypoints) {
  const std::string routes = "weft.route.Routes";
  update({present(routes, "shop/gate/shop/web", "1")});
  request(routes);
  const auto told = next();
  ASSERT_TRUE(told) << "it is told that there is nothing";
  EXPECT_THAT(told->what, IsEmpty());
}

}  // namespace
}  // namespace weft::xds
