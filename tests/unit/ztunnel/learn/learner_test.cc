// The whole learner against its three peers: a grpc++ control plane with TLS (ADS and CA), a node
// agent on a unix socket, and a worker on a thread of its own.
#include "tests/unit/ztunnel/learn/builders.h"
#include "tests/unit/ztunnel/learn/fake_agent.h"
#include "tests/unit/ztunnel/learn/fake_control.h"
#include "ztunnel/learn/parking.h"
#include "ztunnel/learn/snapshot.h"
#include "ztunnel/learn/state_data.h"
#include "ztunnel/learn/view.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <future>
#include <thread>

namespace weft::learn {
namespace {

using runtime::Task;
using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::Contains;
using testing::DeltaRequest;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;
using ::testing::UnorderedElementsAre;
using namespace weft::learn::testing;

constexpr milliseconds kLong{20'000};
const SpiffeId kA{"cluster.local", "shop", "sa-a"};

class Observer final : public PodObserver {
 public:
  void pod_added(std::shared_ptr<const Pod> pod) override { add("+" + pod->name); }
  void pod_removed(const std::string& uid) override { add("-" + uid); }
  void identity_renewed(const SpiffeId& identity) override { add("~" + identity.service_account); }
  void state_changed() override { add("state"); }
  // Waits until the event has been told.
  bool saw(const std::string& event) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, kLong, [&] { return std::ranges::count(events_, event) > 0; });
  }
  int count(const std::string& event) {
    const std::scoped_lock lock(mutex_);
    return static_cast<int>(std::ranges::count(events_, event));
  }

 private:
  void add(std::string event) {
    const std::scoped_lock lock(mutex_);
    events_.push_back(std::move(event));
    changed_.notify_all();
  }
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::string> events_;
};

template <class T>
Task<void> fulfil(Task<T> task, std::promise<T>& promise) {
  promise.set_value(co_await std::move(task));
}
Task<void> run_to_end(Learner& learner, runtime::Loop& loop) {
  co_await learner.run();
  loop.stop();
}

// A ztunnel as far as learning goes: the learner's thread, and one worker's.
class Ztunnel {
 public:
  Ztunnel(runtime::Backend backend, const LearnerConfig& config)
      : learner_loop_(*runtime::Loop::create(backend)),
        worker_loop_(*runtime::Loop::create(backend)),
        learner_(*Learner::make(*learner_loop_, config)),
        view_(learner_->make_view(*worker_loop_)) {
    worker_loop_->post([this] { view_->observe(&observer_); });
    // On its own thread from the first step: TLS contexts stay where they were made.
    learner_loop_->post([this] { learner_loop_->spawn(run_to_end(*learner_, *learner_loop_)); });
    worker_thread_ = std::thread([this] { worker_loop_->run(); });
    learner_thread_ = std::thread([this] { learner_loop_->run(); });
  }
  ~Ztunnel() {
    learner_loop_->post([this] { learner_->stop(); });
    learner_thread_.join();
    worker_loop_->post([this] {
      view_.reset();  // its TLS contexts belong to the worker's thread
      worker_loop_->stop();
    });
    worker_thread_.join();
  }

  LearnerStatus status() {
    std::promise<LearnerStatus> promise;
    learner_loop_->post([&] { promise.set_value(learner_->status()); });
    return promise.get_future().get();
  }
  bool status_becomes(const std::function<bool(const LearnerStatus&)>& holds) {
    const auto give_up = std::chrono::steady_clock::now() + kLong;
    while (!holds(status())) {
      if (std::chrono::steady_clock::now() > give_up) return false;
      std::this_thread::yield();
    }
    return true;
  }
  Result<std::shared_ptr<const State>> ready_state(milliseconds limit = kLong) {
    return ask<Result<std::shared_ptr<const State>>>([&] { return view_->ready_state(limit); });
  }
  // The present state, once it satisfies `holds`.
  std::shared_ptr<const State> state_with(const std::function<bool(const State&)>& holds) {
    const auto give_up = std::chrono::steady_clock::now() + kLong;
    while (std::chrono::steady_clock::now() < give_up) {
      std::promise<std::shared_ptr<const State>> promise;
      worker_loop_->post([&] { promise.set_value(view_->state()); });
      auto state = promise.get_future().get();
      if (holds(*state)) return state;
      std::this_thread::yield();
    }
    return nullptr;
  }
  Result<std::shared_ptr<const Workload>> workload_of(const Pod& pod, milliseconds limit = kLong) {
    return ask<Result<std::shared_ptr<const Workload>>>(
        [&] { return view_->workload_of(pod, limit); });
  }
  // Only whether there is one: a context belongs to the worker's thread.
  Result<void> context_for(const SpiffeId& identity, milliseconds limit = kLong) {
    return ask<Result<void>>([&] { return has_context(*view_, identity, limit); });
  }
  Observer& observer() { return observer_; }

 private:
  static Task<Result<void>> has_context(View& view, SpiffeId identity, milliseconds limit) {
    auto context = co_await view.context_for(identity, limit);
    if (!context) co_return Fail(std::move(context.error()));
    auto again = co_await view.context_for(identity, limit);
    EXPECT_EQ(*context, again.value_or(nullptr)) << "made once";
    co_return Result<void>();
  }
  template <class T, class Call>
  T ask(Call call) {
    std::promise<T> promise;
    worker_loop_->post([&] { worker_loop_->spawn(fulfil(call(), promise)); });
    return promise.get_future().get();
  }

  std::unique_ptr<runtime::Loop> learner_loop_;
  std::unique_ptr<runtime::Loop> worker_loop_;
  Observer observer_;
  std::unique_ptr<Learner> learner_;
  std::unique_ptr<View> view_;
  std::thread worker_thread_;
  std::thread learner_thread_;
};

class LearnerTest : public ::testing::TestWithParam<runtime::Backend> {
 protected:
  void SetUp() override {
    if (auto loop = runtime::Loop::create(GetParam()); !loop) {
      GTEST_SKIP() << loop.error().to_string();
    }
    std::string pattern = ::testing::TempDir() + "weft-learner-XXXXXX";
    folder_ = mkdtemp(pattern.data());
    control_.start();
    agent_.emplace(folder_ + "/zds.sock");
    write("token", "first-token\n");
    write("roots", control_.roots_pem());
    config_.node_name = "node-a";
    config_.control_address = control_.address();
    config_.control_server_name = "control.test";
    config_.control_roots_file = folder_ + "/roots";
    config_.token_file = folder_ + "/token";
    config_.zds_socket = folder_ + "/zds.sock";
    config_.snapshot_file = folder_ + "/snapshot";
    config_.certificate_ttl = seconds(7200);
    config_.pod_name = "ztunnel-1";
    config_.pod_namespace = "istio-system";
    config_.pod_ip = "10.1.1.1";
  }
  void TearDown() override {
    ztunnel_.reset();
    control_.stop();
    if (!folder_.empty()) std::filesystem::remove_all(folder_);
  }
  void write(const std::string& name, const std::string& content) {
    std::ofstream(folder_ + "/" + name) << content;
  }
  void start() { ztunnel_.emplace(GetParam(), config_); }

  // The first things an agent says, for one pod "a".
  void agent_says_hello() {
    agent_->accept();
    if (agent_->parked) {
      istio::workload::zds::WorkloadRequest request;
      request.mutable_parked();
      agent_->send(request, {agent_->parked.get()});
    }
    agent_->add_pod("uid-a", "a", "sa-a", netns_.get(), inbound_.get(), outbound_.get());
    EXPECT_EQ(agent_->receive_ack(), "");
    agent_->snapshot_sent();
    EXPECT_EQ(agent_->receive_ack(), "");
  }
  // The first requests of a stream: both types, policies first.
  std::pair<FakeControl::Asked, FakeControl::Asked> subscriptions() {
    auto first = control_.next_request();
    auto second = control_.next_request();
    EXPECT_EQ(first.request.type_url(), kAuthorizationType);
    EXPECT_EQ(second.request.type_url(), kAddressType);
    EXPECT_EQ(first.stream, second.stream);
    return {std::move(first), std::move(second)};
  }
  void push_pod_a() {
    control_.push(authorizations());
    DeltaResponse pods = addresses();
    pods.set_nonce("n1");
    add_pod(pods, "a", 1, "", "v1");
    control_.push(pods);
  }
  // What is parked while the CA has not answered yet is empty.
  void wait_for_parked_identity() {
    while (true) {
      const auto content = unpark(agent_->parked.get(), std::chrono::system_clock::now());
      if (content && !content->empty()) return;
      auto response = agent_->receive();
      ASSERT_TRUE(response && response->message.has_park());
      agent_->parked = std::move(response->fd);
    }
  }
  DeltaRequest next_answer() { return control_.next_request().request; }

  std::string folder_;
  FakeControl control_;
  std::optional<FakeAgent> agent_;
  const Fd netns_ = own_netns();
  const Fd inbound_ = listening_socket();
  const Fd outbound_ = listening_socket();
  LearnerConfig config_;
  std::optional<Ztunnel> ztunnel_;
};

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
              return state.workload_by_ip(last) != nullptr &&
                     state.data().authorization.policies.size() == 1;
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
  write("snapshot", "weft-snapshot 2\ngarbage");
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

INSTANTIATE_TEST_SUITE_P(Backends, LearnerTest,
                         ::testing::Values(runtime::Backend::kEpoll, runtime::Backend::kUring),
                         [](const auto& param) {
                           return std::string(param.param == runtime::Backend::kEpoll ? "Epoll"
                                                                                      : "Uring");
                         });

}  // namespace
}  // namespace weft::learn
