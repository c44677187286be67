// What control may do to a learner: see learner_fixture.h.
#include "tests/support/backends.h"
#include "tests/unit/ztunnel/learn/learner_fixture.h"

namespace weft::learn {
namespace {

TEST_P(LearnerTest, RefusesWrongResourcesByName) {
  start();
  agent_->accept();
  subscriptions();
  DeltaResponse pods = addresses();
  pods.set_nonce("n7");
  add_pod(pods, "good", 1);
  add_pod(pods, "bad", 0, "addresses: 'abc'");
  control_.push(pods);
  const DeltaRequest nack = next_answer();
  EXPECT_EQ(nack.response_nonce(), "n7");
  EXPECT_THAT(nack.error_detail().message(), HasSubstr(pod_uid("bad") + ": addresses: an IP"));
  EXPECT_THAT(nack.error_detail().message(), ::testing::Not(HasSubstr("good")));
  EXPECT_NE(ztunnel_->state_with(
                [](const State& s) { return s.workload_of_pod("shop", "good") != nullptr; }),
            nullptr);
}

TEST_P(LearnerTest, AsksAnotherServerForCertificates) {
  FakeControl ca;
  ca.start();
  write("ca-roots", ca.roots_pem());
  config_.ca_address = ca.address();
  config_.ca_roots_file = folder_ + "/ca-roots";
  start();
  agent_says_hello();
  subscriptions();
  push_pod_a();
  ASSERT_TRUE(ztunnel_->context_for(kA));
  EXPECT_EQ(ca.certificates().calls, 1);
  EXPECT_EQ(ca.certificates().identity, kA.to_string());
  EXPECT_EQ(control_.certificates().calls, 0);
}

TEST_P(LearnerTest, ANackIsBounded) {
  start();
  agent_->accept();
  subscriptions();
  DeltaResponse pods = addresses();
  for (int i = 0; i < 2'000; ++i) add_pod(pods, std::to_string(i), 0, "addresses: 'abc'");
  control_.push(pods);
  const std::string message = next_answer().error_detail().message();
  EXPECT_LT(message.size(), 5'000U);
  EXPECT_THAT(message, HasSubstr("(2000 resources in all)"));
}

TEST_P(LearnerTest, SaysWhenItsTokenIsMissing) {
  std::filesystem::remove(config_.token_file);
  start();
  EXPECT_TRUE(ztunnel_->status_becomes([&](const auto& s) {
    return s.last_error.find("opening " + config_.token_file) != std::string::npos;
  }));
  write("token", "late-token");
  EXPECT_EQ(subscriptions().first.metadata.at("authorization"), "Bearer late-token");
}

TEST_P(LearnerTest, ComesBackTellingWhatItHas) {
  start();
  agent_->accept();
  subscriptions();
  push_pod_a();
  next_answer();
  next_answer();
  control_.stop();
  ASSERT_TRUE(ztunnel_->status_becomes([](const auto& s) { return !s.control_connected; }));
  EXPECT_THAT(ztunnel_->status().last_error, HasSubstr("control: "));
  EXPECT_TRUE(ztunnel_->ready_state()) << "the last configuration stays";
  write("token", "second-token");
  control_.start();
  const auto [policies, pods] = subscriptions();
  EXPECT_EQ(policies.metadata.at("authorization"), "Bearer second-token");
  EXPECT_THAT(policies.request.initial_resource_versions(), IsEmpty());
  EXPECT_THAT(pods.request.initial_resource_versions(), ElementsAre(Pair(pod_uid("a"), "v1")));
  DeltaResponse removed = addresses();
  removed.add_removed_resources(pod_uid("a"));
  control_.push(removed);
  EXPECT_TRUE(ztunnel_->status_becomes([](const auto& s) { return s.workloads == 0; }));
  EXPECT_TRUE(ztunnel_->status().control_connected);
}

// Each is acknowledged; the workers get far fewer States, and the last of them is right.
TEST_P(LearnerTest, AStormOfUpdates) {
  constexpr int kUpdates = 2'000;
  start();
  agent_->accept();
  subscriptions();
  push_pod_a();
  for (int i = 0; i < kUpdates; ++i) {
    DeltaResponse pods = addresses();
    add_pod(pods, "a", static_cast<char>(1 + i % 100), "", std::to_string(i));
    if (i == kUpdates / 2) {
      DeltaResponse policies = authorizations();
      add_policy(policies, "p", "action: DENY rules {}");
      control_.push(policies);
    }
    control_.push(pods);
  }
  for (int i = 0; i < kUpdates + 3; ++i) EXPECT_FALSE(next_answer().has_error_detail());
  const auto last = IpAddress::v4(0x0a000000 + 1 + (kUpdates - 1) % 100);
  EXPECT_NE(ztunnel_->state_with([&](const State& state) {
    return state.workload_by_ip(last) != nullptr && state.data().authorization.policies.size() == 1;
  }),
            nullptr);
  EXPECT_LT(ztunnel_->observer().count("state"), kUpdates / 4);
}

// Another control that knows less, and other versions: its word holds from then on.
TEST_P(LearnerTest, AnotherControlThatDisagrees) {
  start();
  agent_->accept();
  subscriptions();
  DeltaResponse policies = authorizations();
  add_policy(policies, "p", "action: DENY rules {} scope: WORKLOAD_SELECTOR");
  control_.push(policies);
  DeltaResponse pods = addresses();
  add_pod(pods, "a", 1, "authorization_policies: 'shop/p'", "v9");
  add_pod(pods, "b", 2, "", "v9");
  control_.push(pods);
  next_answer();
  next_answer();
  control_.stop();
  ASSERT_TRUE(ztunnel_->status_becomes([](const auto& s) { return !s.control_connected; }));
  control_.start();
  subscriptions();
  // It does not know the policy; the workload that names it is still the first control's.
  DeltaResponse gone = authorizations();
  gone.add_removed_resources("shop/p");
  control_.push(gone);
  next_answer();
  auto state = ztunnel_->state_with([](const State&) { return true; });
  const auto lets_in = [](const State& now) {
    const auto sets = now.policies_for(*now.workload_of_pod("shop", "a"));
    return sets && policy::authorize(*sets, policy::Connection{}).allowed;
  };
  EXPECT_FALSE(lets_in(*state)) << "denied still";
  DeltaResponse other = addresses();
  add_pod(other, "a", 3, "", "v1");
  other.add_removed_resources(pod_uid("b"));
  control_.push(other);
  state = ztunnel_->state_with(
      [](const State& now) { return now.workload_of_pod("shop", "b") == nullptr; });
  ASSERT_NE(state, nullptr);
  EXPECT_TRUE(lets_in(*state));
  EXPECT_EQ(state->workload_by_ip(IpAddress::v4(0x0a000001)), nullptr);
}

BOTH_BACKENDS(LearnerTest);

}  // namespace
}  // namespace weft::learn
