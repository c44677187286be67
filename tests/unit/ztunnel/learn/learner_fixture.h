#pragma once

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
inline Task<void> run_to_end(Learner& learner, runtime::Loop& loop) {
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

}  // namespace weft::learn
