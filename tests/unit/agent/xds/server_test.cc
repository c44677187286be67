#include "agent/xds/server.h"

#include "agent/identity/token.h"
#include "agent/xds/peer_limit.h"
#include "agent/xds/subscription.h"
#include "tests/unit/agent/xds/ads_client.h"
#include "ztunnel/base/log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

namespace weft::xds {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

const std::string kAuthorization(kAuthorizationType);
const std::string kAddress(kAddressType);

// When the tokens of every node run out, in the tests that play with it.
constexpr std::chrono::system_clock::time_point kExpires{std::chrono::hours(1)};

// "good-<node>" is a token of <node>.
class FakeVerifier final : public identity::TokenVerifier {
 public:
  Result<identity::Caller> verify(std::string_view token) const override {
    if (!token.starts_with("good-")) return fail(Code::kRefused, "token: expired");
    return identity::Caller{.node = std::string(token.substr(5)),
                            .subject = "system:serviceaccount:a:b",
                            .expires = kExpires,
                            .is_node_proxy = token != "good-app"};
  }
};

// Log lines, which come from gRPC's threads.
class LogWatch {
 public:
  LogWatch() {
    log::set_sink([this](std::string_view line) {
      const std::scoped_lock lock(mutex_);
      lines_ += line;
      changed_.notify_all();
    });
  }
  ~LogWatch() { log::set_sink(nullptr); }
  bool wait_for(const std::string& text) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, AdsClient::kPatience,
                             [&] { return lines_.find(text) != std::string::npos; });
  }
  std::string lines() {
    const std::scoped_lock lock(mutex_);
    return lines_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::string lines_;
};

compile::Resource present(const std::string& type, const std::string& name,
                          const std::string& version, size_t size = 8) {
  return {type, name, version, std::string(size, 'x'), false};
}
compile::Resource gone(const std::string& type, const std::string& name) {
  return {type, name, "", "", true};
}

class AdsServer : public testing::Test {
 protected:
  void SetUp() override {
    int port = 0;
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
    builder.RegisterService(&server_.service());
    grpc_ = builder.BuildAndStart();
    ASSERT_TRUE(grpc_);
    target_ = "127.0.0.1:" + std::to_string(port);
  }
  void TearDown() override {
    server_.shutdown();
    grpc_->Shutdown();
  }
  std::shared_ptr<grpc::Channel> channel(int window_bytes = 0) {
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    if (window_bytes > 0) {
      arguments.SetInt(GRPC_ARG_HTTP2_BDP_PROBE, 0);
      arguments.SetInt(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, window_bytes);
    }
    return grpc::CreateCustomChannel(target_, grpc::InsecureChannelCredentials(), arguments);
  }
  std::unique_ptr<AdsClient> connect(const std::string& node = "node-a") {
    return std::make_unique<AdsClient>(channel(), "Bearer good-" + node);
  }

  LogWatch log_;
  Server server_{std::make_shared<FakeVerifier>()};
  std::unique_ptr<grpc::Server> grpc_;
  std::string target_;
};

TEST_F(AdsServer, RefusesWhoeverShowsNoGoodToken) {
  for (const char* authorization : {"", "Bearer bad", "Basic good-a", "good-a"}) {
    AdsClient client(channel(), authorization);
    client.subscribe(kAddress);
    const grpc::Status status = client.finish();
    EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAUTHENTICATED) << authorization;
    EXPECT_THAT(status.error_message(), HasSubstr("token: ")) << authorization;
  }
  EXPECT_TRUE(server_.subscribers().empty());
}

TEST_F(AdsServer, TellsTheMeshToNodeProxiesOnly) {
  AdsClient client(channel(), "Bearer good-app");
  client.subscribe(kAddress);
  const grpc::Status status = client.finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::PERMISSION_DENIED);
  EXPECT_THAT(status.error_message(), HasSubstr("--trusted-node-accounts"));
}

// Answers when it is told to.
class LateAuthenticator final : public identity::Authenticator {
 public:
  void authenticate(std::string /*token*/, Done done) const override {
    const std::scoped_lock lock(mutex_);
    asked_.push_back(std::move(done));
    changed_.notify_all();
  }
  void wait_for(size_t count) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return asked_.size() >= count; });
  }
  void answer(const Result<identity::Caller>& caller) {
    Done done;
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [this] { return !asked_.empty(); });
      done = std::move(asked_.front());
      asked_.pop_front();
    }
    done(caller);
  }

 private:
  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  mutable std::deque<Done> asked_;
};

class LateAnswer : public AdsServer {
 protected:
  LateAnswer() {
    server_.set_ready();
    grpc::ServerBuilder builder;
    int port = 0;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
    builder.RegisterService(&late_.service());
    late_grpc_ = builder.BuildAndStart();
    late_target_ = "127.0.0.1:" + std::to_string(port);
    late_.update({present(kAddress, "a", "1")});
    late_.set_ready();
  }
  ~LateAnswer() override {
    late_.shutdown();
    late_grpc_->Shutdown();
  }
  std::unique_ptr<AdsClient> connect_late() const {
    return std::make_unique<AdsClient>(
        grpc::CreateChannel(late_target_, grpc::InsecureChannelCredentials()), "Bearer x");
  }

  std::shared_ptr<LateAuthenticator> authenticator_ = std::make_shared<LateAuthenticator>();
  Server late_{authenticator_};
  std::unique_ptr<grpc::Server> late_grpc_;
  std::string late_target_;
};

TEST_F(LateAnswer, AStreamWaitsForIt) {
  const auto client = connect_late();
  client->subscribe(kAddress);
  EXPECT_TRUE(late_.subscribers().empty());
  authenticator_->answer(identity::Caller{
      .node = "node-a", .subject = "s", .expires = kExpires, .is_node_proxy = true});
  EXPECT_EQ(client->accept(), "Address: +a@1");
  EXPECT_EQ(late_.subscribers().at(0).node, "node-a");
}

TEST_F(LateAnswer, AnAddressMayNotTakeEveryPlace) {
  std::vector<std::unique_ptr<AdsClient>> waiting;
  for (size_t i = 0; i < PeerLimit::kWaitingMax; ++i) waiting.push_back(connect_late());
  authenticator_->wait_for(PeerLimit::kWaitingMax);
  EXPECT_EQ(connect_late()->finish().error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  authenticator_->answer(fail(Code::kRefused, "token: no"));
  const auto next = connect_late();  // there is a place again
  for (size_t i = 0; i < PeerLimit::kWaitingMax; ++i) {
    authenticator_->answer(fail(Code::kRefused, "token: no"));
  }
  EXPECT_EQ(next->finish().error_code(), grpc::StatusCode::UNAUTHENTICATED);
}

TEST(PeerLimit, IsByAddress) {
  PeerLimit limit;
  for (size_t i = 0; i < PeerLimit::kWaitingMax; ++i) {
    EXPECT_TRUE(limit.enter("ipv4:10.0.0.1:" + std::to_string(i)));
  }
  EXPECT_FALSE(limit.enter("ipv4:10.0.0.1:9"));
  EXPECT_TRUE(limit.enter("ipv4:10.0.0.2:9"));
  EXPECT_TRUE(limit.enter("ipv6:%5B::1%5D:9"));
  limit.leave("ipv4:10.0.0.1:5");
  EXPECT_TRUE(limit.enter("ipv4:10.0.0.1:9"));
  limit.leave("ipv4:10.0.0.3:5");  // never came
}

TEST_F(LateAnswer, NobodyToAskMeansTryAgain) {
  const auto client = connect_late();
  client->subscribe(kAddress);
  authenticator_->answer(fail(Code::kUnavailable, "no API server"));
  EXPECT_EQ(client->finish().error_code(), grpc::StatusCode::UNAVAILABLE);
}

TEST_F(LateAnswer, ShutdownMeanwhileEndsTheStreamOnceItIsThere) {
  const auto client = connect_late();
  client->subscribe(kAddress);
  authenticator_->wait_for(1);
  std::thread answer([this] {
    late_.shutdown();
    authenticator_->answer(identity::Caller{
        .node = "node-a", .subject = "s", .expires = kExpires, .is_node_proxy = true});
  });
  EXPECT_EQ(client->finish().error_code(), grpc::StatusCode::UNAVAILABLE);
  answer.join();
}

TEST_F(AdsServer, SendsNothingBeforeItIsReady) {
  const auto client = connect();
  client->subscribe(kAuthorization);
  client->subscribe(kAddress);
  server_.update({present(kAddress, "a", "1")});
  server_.update({present(kAuthorization, "p", "1"), present(kAddress, "a", "2")});
  server_.set_ready();
  // Had anything gone out before, it would be read first.
  EXPECT_EQ(client->accept(), "Authorization: +p@1");
  EXPECT_EQ(client->accept(), "Address: +a@2");
}

TEST_F(AdsServer, PushesChangesAndRemovals) {
  server_.set_ready();
  const auto one = connect("node-a");
  const auto two = connect("node-b");
  for (AdsClient* client : {one.get(), two.get()}) {
    client->subscribe(kAddress);
    EXPECT_EQ(client->accept(), "Address:");
  }
  server_.update({present(kAddress, "a", "1"), present(kAddress, "b", "1")});
  for (AdsClient* client : {one.get(), two.get()}) {
    EXPECT_EQ(client->accept(), "Address: +a@1 +b@1");
  }
  server_.update({gone(kAddress, "a")});
  for (AdsClient* client : {one.get(), two.get()}) EXPECT_EQ(client->accept(), "Address: -a");
}

TEST_F(AdsServer, KeepsTheOrderAcrossTypes) {
  server_.set_ready();
  const auto client = connect();
  client->subscribe(kAuthorization);
  EXPECT_EQ(client->accept(), "Authorization:");
  client->subscribe(kAddress);
  EXPECT_EQ(client->accept(), "Address:");
  server_.update({present(kAuthorization, "p", "1"), present(kAddress, "a", "1")});
  EXPECT_EQ(client->accept(), "Authorization: +p@1");
  EXPECT_EQ(client->accept(), "Address: +a@1");
  server_.update({gone(kAddress, "a"), gone(kAuthorization, "p")});
  const auto addresses = client->read();
  EXPECT_EQ(AdsClient::say(addresses), "Address: -a");
  // Not before the answer: a new policy comes first, alone.
  server_.update({present(kAuthorization, "q", "1")});
  EXPECT_EQ(client->accept(), "Authorization: +q@1");
  client->answer(addresses);
  EXPECT_EQ(client->accept(), "Authorization: -p");
}

TEST_F(AdsServer, ReconnectGetsTheDifference) {
  server_.update({present(kAddress, "a", "1"), present(kAddress, "b", "1")});
  server_.set_ready();
  {
    const auto client = connect();
    client->subscribe(kAddress);
    EXPECT_EQ(client->accept(), "Address: +a@1 +b@1");
    client->half_close();
    EXPECT_TRUE(client->finish().ok());
  }
  server_.update({present(kAddress, "b", "2"), gone(kAddress, "a")});
  const auto client = connect();
  client->subscribe(kAddress, {}, {{"a", "1"}, {"b", "1"}});
  EXPECT_EQ(client->accept(), "Address: +b@2 -a");
}

TEST_F(AdsServer, SubscribesByName) {
  server_.update({present(kAddress, "a", "1"), present(kAddress, "b", "1")});
  server_.set_ready();
  const auto client = connect();
  client->subscribe(kAddress, {"a"});
  EXPECT_EQ(client->accept(), "Address: +a@1");
  client->subscribe(kAddress, {"b", "c"});
  EXPECT_EQ(client->accept(), "Address: +b@1 -c");
  client->unsubscribe(kAddress, "a");
  client->subscribe(kAddress, {"c"});
  EXPECT_EQ(client->accept(), "Address: -c");
  server_.update({present(kAddress, "a", "2"), present(kAddress, "b", "2")});
  EXPECT_EQ(client->accept(), "Address: +b@2");
}

TEST_F(AdsServer, WritesDownWhatWasRefused) {
  server_.update({present(kAuthorization, "bad", "1")});
  server_.set_ready();
  const auto client = connect("node-x");
  client->subscribe(kAuthorization);
  const auto response = client->read();
  client->answer(response, "rule 3: nonsense\n\"quoted\"");
  ASSERT_TRUE(log_.wait_for("a node refused configuration"));
  EXPECT_THAT(log_.lines(), HasSubstr("node=\"node-x\""));
  EXPECT_THAT(log_.lines(), HasSubstr("resources=\"bad\""));
  EXPECT_THAT(log_.lines(), HasSubstr(R"(reason="rule 3: nonsense\u000a\"quoted\"")"));
  // Not sent again: the next response holds the other one only.
  server_.update({present(kAuthorization, "other", "1")});
  EXPECT_EQ(client->accept(), "Authorization: +other@1");
  client->subscribe(kAddress);
  EXPECT_EQ(client->accept(), "Address:");
  const auto subscribers = server_.subscribers();
  ASSERT_EQ(subscribers.size(), 1U);
  EXPECT_EQ(subscribers[0].node, "node-x");
  EXPECT_EQ(subscribers[0].nacks, 1U);
  EXPECT_GE(subscribers[0].acks, 1U);  // the answer to the last response may still be on its way
  EXPECT_THAT(subscribers[0].last_nack, HasSubstr("nonsense"));
  EXPECT_EQ(server_.totals().nacks, 1U);
  EXPECT_EQ(server_.totals().resources.at(kAuthorization), 2U);
}

TEST_F(AdsServer, AnswersUnknownTypesWithNothing) {
  server_.set_ready();
  const auto client = connect();
  client->subscribe("envoy.config.cluster.v3.Cluster");
  EXPECT_EQ(client->accept(), "Cluster:");
  EXPECT_TRUE(log_.wait_for("type=\"envoy.config.cluster.v3.Cluster\""));
}

TEST_F(AdsServer, EndsAStreamThatAsksForNonsense) {
  server_.set_ready();
  const auto client = connect();
  client->subscribe(std::string(2000, 't'));
  const grpc::Status status = client->finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
}

TEST_F(AdsServer, ASlowReaderCostsNamesOnly) {
  constexpr size_t kSize = 1024 * 1024;
  server_.update({present(kAddress, "big", "0", kSize)});
  server_.set_ready();
  AdsClient slow(channel(64 * 1024), "Bearer good-slow");
  slow.subscribe(kAddress);
  const auto unanswered = slow.read();
  EXPECT_EQ(AdsClient::say(unanswered), "Address: +big@0");
  const auto quick = connect("quick");
  quick->subscribe(kAddress);
  EXPECT_EQ(quick->accept(), "Address: +big@0");
  for (int i = 1; i <= 200; ++i) {
    const std::string pod = "pod-" + std::to_string(i);
    server_.update({present(kAddress, "big", std::to_string(i), kSize), present(kAddress, pod, "1"),
                    gone(kAddress, "pod-" + std::to_string(i - 1))});
    for (const auto& subscriber : server_.subscribers()) {
      EXPECT_LE(subscriber.queued, 3U);
      if (subscriber.node == "slow") EXPECT_EQ(subscriber.queued, 2U);
    }
  }
  slow.answer(unanswered);
  // Both see the latest state in the end, whatever they saw in between.
  for (AdsClient* client : {&slow, quick.get()}) {
    std::map<std::string, std::string> seen;
    while (seen["big"] != "200" || !seen.contains("pod-200")) {
      const auto response = client->read();
      ASSERT_FALSE(response.type_url().empty());
      for (const auto& one : response.resources()) seen[one.name()] = one.version();
      for (const auto& name : response.removed_resources()) seen.erase(name);
      client->answer(response);
    }
  }
}

TEST_F(AdsServer, StreamsComeAndGoUnderUpdates) {
  server_.set_ready();
  std::atomic<bool> stop = false;
  std::jthread updates([&] {
    for (int i = 0; !stop; ++i) {
      server_.update({present(kAuthorization, "p", std::to_string(i)),
                      present(kAddress, "a", std::to_string(i))});
    }
  });
  {
    std::vector<std::jthread> clients;
    for (int thread = 0; thread < 4; ++thread) {
      clients.emplace_back([&, thread] {
        for (int i = 0; i < 10; ++i) {
          const auto client = connect("node-" + std::to_string(thread));
          client->subscribe(kAuthorization);
          client->subscribe(kAddress);
          EXPECT_NE(client->accept(), "ended");
          EXPECT_NE(client->accept(), "ended");
          if (i % 2 == 0) client->half_close();  // else it is cancelled
        }
      });
    }
  }
  stop = true;
}

TEST_F(AdsServer, ShutdownEndsEveryStreamEvenOneThatDoesNotRead) {
  server_.update({present(kAddress, "big", "0", 16UL * 1024 * 1024)});
  server_.set_ready();
  AdsClient slow(channel(64 * 1024), "Bearer good-slow");
  slow.subscribe(kAddress);
  const auto idle = connect("idle");
  idle->subscribe(kAuthorization);
  EXPECT_EQ(idle->accept(), "Authorization:");
  server_.shutdown();
  EXPECT_EQ(idle->finish().error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_FALSE(slow.finish().ok());
  grpc_->Shutdown();
  EXPECT_TRUE(server_.subscribers().empty());
}

TEST_F(AdsServer, AStreamEndsWithItsToken) {
  server_.update({present(kAddress, "big", "0", 16UL * 1024 * 1024)});
  server_.set_ready();
  AdsClient slow(channel(64 * 1024), "Bearer good-slow");
  slow.subscribe(kAddress);
  const auto idle = connect("idle");
  idle->subscribe(kAuthorization);
  EXPECT_EQ(idle->accept(), "Authorization:");
  server_.end_expired(kExpires - std::chrono::seconds(1));
  server_.update({present(kAuthorization, "p", "1")});
  EXPECT_EQ(idle->accept(), "Authorization: +p@1");
  server_.end_expired(kExpires);
  const grpc::Status status = idle->finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAUTHENTICATED);
  EXPECT_THAT(status.error_message(), HasSubstr("expired"));
  // The other one does not read: it is given until the next look.
  server_.end_expired(kExpires);
  EXPECT_FALSE(slow.finish().ok());
}

}  // namespace
}  // namespace weft::xds
