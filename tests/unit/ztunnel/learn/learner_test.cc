// The learner as a whole: see learner_fixture.h.
#include "tests/support/backends.h"
#include "tests/unit/ztunnel/learn/learner_fixture.h"

namespace weft::learn {
namespace {

TEST_P(LearnerTest, LearnsEverythingFromItsThreePeers) {
  start();
  EXPECT_EQ(ztunnel_->ready_state(milliseconds(1)).error().code, Code::kTimeout);
  agent_says_hello();
  const auto [policies, pods] = subscriptions();
  EXPECT_EQ(policies.request.node().id(),
            "ztunnel~10.1.1.1~ztunnel-1.istio-system~istio-system.svc.cluster.local");
  EXPECT_EQ(policies.request.node().metadata().fields().at("NODE_NAME").string_value(), "node-a");
  EXPECT_THAT(policies.request.resource_names_subscribe(), ElementsAre("*"));
  EXPECT_FALSE(pods.request.has_node());
  EXPECT_EQ(policies.metadata.at("authorization"), "Bearer first-token");
  EXPECT_EQ(policies.metadata.at("clusterid"), "Kubernetes");

  push_pod_a();
  EXPECT_EQ(next_answer().type_url(), kAuthorizationType);
  const DeltaRequest answer = next_answer();
  EXPECT_EQ(answer.response_nonce(), "n1");
  EXPECT_FALSE(answer.has_error_detail());
  EXPECT_THAT(answer.resource_names_subscribe(), IsEmpty());
  ASSERT_TRUE(ztunnel_->ready_state());
  Pod pod;
  pod.ns = "shop";
  pod.name = "a";
  pod.service_account = "sa-a";
  const auto workload = ztunnel_->workload_of(pod);
  ASSERT_TRUE(workload) << workload.error().to_string();
  EXPECT_EQ((*workload)->identity, kA);
  pod.service_account = "another";
  EXPECT_EQ(ztunnel_->workload_of(pod, milliseconds(1)).error().code, Code::kTimeout)
      << "what control still says of an earlier pod of that name";

  const auto context = ztunnel_->context_for(kA);
  ASSERT_TRUE(context) << context.error().to_string();
  EXPECT_TRUE(ztunnel_->observer().saw("+a"));
  EXPECT_TRUE(ztunnel_->observer().saw("state"));
  const auto certificates = control_.certificates();
  EXPECT_EQ(certificates.identity, kA.to_string());
  EXPECT_EQ(certificates.lifetime_s, 7200);
  EXPECT_EQ(certificates.metadata.at("authorization"), "Bearer first-token");
  const LearnerStatus status = ztunnel_->status();
  EXPECT_TRUE(status.control_connected && status.agent_connected && status.configuration_complete);
  EXPECT_FALSE(status.from_snapshot);
  EXPECT_EQ(status.pods, 1U);
  EXPECT_EQ(status.workloads, 1U);
  ASSERT_EQ(status.certificates.size(), 1U);
  EXPECT_EQ(status.certificates[0].state, "available");
}

// kill -9 of a ztunnel while control is away costs neither configuration nor identities.
TEST_P(LearnerTest, ComesUpWithoutControl) {
  start();
  agent_says_hello();
  subscriptions();
  push_pod_a();
  ASSERT_TRUE(ztunnel_->context_for(kA));
  wait_for_parked_identity();
  next_answer();
  next_answer();
  while (!read_snapshot(config_.snapshot_file)) std::this_thread::yield();
  const std::string serial = ztunnel_->status().certificates.at(0).serial;
  const int calls = control_.certificates().calls;
  ztunnel_.reset();
  control_.stop();

  start();
  agent_says_hello();
  ASSERT_TRUE(ztunnel_->ready_state());
  Pod pod;
  pod.ns = "shop";
  pod.name = "a";
  pod.service_account = "sa-a";
  EXPECT_TRUE(ztunnel_->workload_of(pod));
  const auto context = ztunnel_->context_for(kA);
  EXPECT_TRUE(context) << context.error().to_string();
  LearnerStatus status = ztunnel_->status();
  EXPECT_TRUE(status.configuration_complete && status.from_snapshot);
  EXPECT_FALSE(status.control_connected);
  EXPECT_EQ(status.certificates.at(0).serial, serial);

  control_.start();
  const auto [policies, pods] = subscriptions();
  EXPECT_THAT(pods.request.initial_resource_versions(), ElementsAre(Pair(pod_uid("a"), "v1")));
  control_.push(authorizations());
  DeltaResponse removed = addresses();
  removed.add_removed_resources(pod_uid("a"));
  control_.push(removed);
  EXPECT_TRUE(
      ztunnel_->status_becomes([](const auto& s) { return !s.from_snapshot && s.workloads == 0; }));
  EXPECT_EQ(control_.certificates().calls, calls) << "no new certificate was needed";
}

TEST_P(LearnerTest, DamagedSnapshotAndParkedMemoryAreIgnored) {
  write("snapshot", "weft-snapshot 3\ngarbage");
  agent_->parked = Fd(open("/dev/null", O_RDONLY | O_CLOEXEC));
  start();
  agent_says_hello();
  subscriptions();
  EXPECT_FALSE(ztunnel_->status().configuration_complete);
  EXPECT_TRUE(ztunnel_->context_for(kA)) << "the CA was asked instead";
  push_pod_a();
  EXPECT_TRUE(ztunnel_->ready_state());
}

TEST_P(LearnerTest, TheCasRefusalIsTold) {
  control_.refuse_certificates(
      grpc::Status(grpc::StatusCode::PERMISSION_DENIED, "node-a runs no pod of shop/sa-a"));
  start();
  agent_says_hello();
  EXPECT_TRUE(ztunnel_->status_becomes(
      [](const auto& s) { return s.certificates.at(0).state.starts_with("failed: "); }));
  const auto refused = ztunnel_->context_for(kA, milliseconds(50));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kRefused);
  EXPECT_THAT(refused.error().to_string(), HasSubstr("node-a runs no pod of shop/sa-a"));
  EXPECT_THAT(refused.error().to_string(), HasSubstr(kA.to_string()));
  control_.refuse_certificates(std::nullopt);
  EXPECT_TRUE(ztunnel_->context_for(kA)) << "it is asked again";
}

TEST_P(LearnerTest, RotatesAtHalfLife) {
  control_.sign_for(seconds(3));
  start();
  agent_says_hello();
  ASSERT_TRUE(ztunnel_->context_for(kA));
  const std::string first = ztunnel_->status().certificates.at(0).serial;
  EXPECT_TRUE(ztunnel_->observer().saw("~sa-a"));
  EXPECT_NE(ztunnel_->status().certificates.at(0).serial, first);
  EXPECT_TRUE(ztunnel_->context_for(kA, milliseconds(0)));
}

TEST_P(LearnerTest, AnIdentityIsForgottenWithItsLastPod) {
  start();
  agent_says_hello();
  ASSERT_TRUE(ztunnel_->context_for(kA));
  istio::workload::zds::WorkloadRequest del;
  del.mutable_del()->set_uid("uid-a");
  agent_->send(del);
  EXPECT_EQ(agent_->receive_ack(), "");
  EXPECT_TRUE(ztunnel_->observer().saw("-uid-a"));
  EXPECT_TRUE(ztunnel_->status_becomes([](const auto& s) { return s.certificates.empty(); }));
  EXPECT_FALSE(ztunnel_->context_for(kA, milliseconds(0)));
}

TEST_P(LearnerTest, TrustsOnlyTheControlThatProvesItsName) {
  config_.control_server_name = "other.test";
  start();
  EXPECT_TRUE(ztunnel_->status_becomes([](const auto& s) { return !s.last_error.empty(); }));
  EXPECT_TRUE(ztunnel_->status_becomes(
      [](const auto& s) { return s.last_error.find("control: ") != std::string::npos; }));
  EXPECT_FALSE(ztunnel_->status().control_connected);
}

TEST_P(LearnerTest, StopsWhileEverythingIsAway) {
  control_.stop();
  start();
  EXPECT_TRUE(ztunnel_->status_becomes([](const auto& s) { return !s.last_error.empty(); }));
}

TEST(LearnerConfigTest, WrongAddressIsRefused) {
  auto loop = runtime::Loop::create(runtime::Backend::kEpoll);
  LearnerConfig config;
  config.node_name = "n";
  config.control_address = "control.example:15012";
  const auto made = Learner::make(**loop, config);
  ASSERT_FALSE(made);
  EXPECT_THAT(made.error().to_string(), HasSubstr("control's address"));
}

BOTH_BACKENDS(LearnerTest);

}  // namespace
}  // namespace weft::learn
