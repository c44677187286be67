#include "agent/control/kube/token_reviewer.h"

#include "tests/support/run_task.h"
#include "tests/unit/agent/control/kube/fake_api.h"
#include "ztunnel/base/log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace weft::control::kube {
namespace {

using identity::Caller;
using std::chrono::seconds;
using ::testing::HasSubstr;
using Time = std::chrono::system_clock::time_point;

// {"exp":2000000000,"aud":["istio-ca"]}, of which the signature is for the API server to judge.
const std::string kToken = "e30.eyJleHAiOjIwMDAwMDAwMDAsImF1ZCI6WyJpc3Rpby1jYSJdfQ.good";
// {"exp":2000000000,"aud":["api"]} and {"exp":1,"aud":["istio-ca"]}
const std::string kOthers = "e30.eyJleHAiOjIwMDAwMDAwMDAsImF1ZCI6WyJhcGkiXX0.x";
const std::string kExpired = "e30.eyJleHAiOjEsImF1ZCI6WyJpc3Rpby1jYSJdfQ.x";
const std::string kZtunnel = "system:serviceaccount:weft-system:weft-ztunnel";

std::string review(const std::string& subject, const std::string& node,
                   const std::string& audience = "istio-ca") {
  return R"({"kind":"TokenReview","status":{"authenticated":true,"audiences":[")" + audience +
         R"("],"user":{"username":")" + subject +
         R"(","extra":{"authentication.kubernetes.io/pod-name":["z-1"],)"
         R"("authentication.kubernetes.io/pod-uid":["u1"])" +
         (node.empty() ? "" : R"(,"authentication.kubernetes.io/node-name":[")" + node + R"("])") +
         "}}}}";
}
constexpr const char* kRefused =
    R"({"kind":"TokenReview","status":{"error":"[invalid bearer token]"}})";

TEST(TokenReview, ReadsWhoItIs) {
  const auto read = read_review(review(kZtunnel, "node-a"));
  ASSERT_TRUE(read) << read.error().to_string();
  EXPECT_EQ(read->subject, kZtunnel);
  EXPECT_EQ(read->ns, "weft-system");
  EXPECT_EQ(read->node, "node-a");
  EXPECT_EQ(read->pod, "z-1");
  EXPECT_THAT(read_review(kRefused).error().message, HasSubstr("[invalid bearer token]"));
  EXPECT_EQ(read_review(kRefused).error().code, Code::kRefused);
  // A server that ignores audiences accepts tokens that were made for others.
  EXPECT_EQ(read_review(review(kZtunnel, "a", "https://kubernetes")).error().code, Code::kRefused);
  EXPECT_EQ(read_review(review("admin", "a")).error().code, Code::kRefused);
  for (const char* text : {"", "{}", "[]", R"({"kind":"Status"})", R"({"kind":"TokenReview"})"}) {
    EXPECT_EQ(read_review(text).error().code, Code::kInvalid) << text;
  }
}

TEST(TokenReview, AsksForOurAudienceAndEscapesTheToken) {
  EXPECT_THAT(review_request("a\"b"), HasSubstr(R"("audiences":["istio-ca"])"));
  EXPECT_THAT(review_request("a\"b"), HasSubstr(R"("token":"a\"b")"));
}

TEST(TokenReview, APodOfTheSameNameIsNotThePod) {
  const std::string pod = R"({"metadata":{"uid":"u1"},"spec":{"nodeName":"node-b"}})";
  EXPECT_EQ(*node_of_pod(pod, "u1"), "node-b");
  EXPECT_EQ(node_of_pod(pod, "u2").error().code, Code::kRefused);
  EXPECT_EQ(node_of_pod(pod, "").error().code, Code::kRefused);
  EXPECT_EQ(node_of_pod(R"({"metadata":{"uid":"u1"},"spec":{}})", "u1").error().code,
            Code::kRefused);
}

TEST(TokenTable, ForgetsWhatRunsOutAndIsBounded) {
  TokenTable table;
  const Time now{std::chrono::hours(1)};
  table.put("good", Caller{.node = "n", .subject = "s", .expires = now + seconds(100)}, now);
  table.put("bad", fail(Code::kRefused, "no"), now);
  EXPECT_TRUE(table.find("good", now)->is_fresh);
  EXPECT_FALSE(table.find("good", now + TokenTable::kFreshFor)->is_fresh);
  EXPECT_FALSE(table.find("good", now - std::chrono::minutes(10))->is_fresh);
  EXPECT_FALSE(table.find("good", now + seconds(100)));
  EXPECT_FALSE(table.find("bad", now)->caller);
  EXPECT_FALSE(table.find("bad", now + TokenTable::kRefusedFor));
  for (size_t i = 0; i < TokenTable::kTokensMax + 10; ++i) {
    table.put(std::to_string(i),
              Caller{.node = "n", .subject = "s", .expires = now + seconds(1000)}, now);
  }
  EXPECT_EQ(table.size(), TokenTable::kTokensMax);
}

class Reviewer : public ::testing::Test {
 protected:
  Reviewer() {
    log::set_sink([](std::string_view) {});
  }
  ~Reviewer() override {
    testing::run(*loop_, reviewer_->stop());
    log::set_sink(nullptr);
  }
  // Asks, and runs the loop until `count` answers are there.
  std::vector<Result<Caller>> ask(const std::string& token, size_t count = 1) {
    std::vector<Result<Caller>> answers;
    for (size_t i = 0; i < count; ++i) {
      reviewer_->authenticate(token, [&](Result<Caller> caller) {
        answers.push_back(std::move(caller));
        if (answers.size() == count) loop_->stop();
      });
    }
    loop_->run();
    return answers;
  }
  size_t reviews() const { return api_.asked.size(); }

  std::unique_ptr<runtime::Loop> loop_ = *runtime::Loop::create_best();
  FakeApi api_{*loop_};
  Time now_ = std::chrono::system_clock::from_time_t(1'900'000'000);
  std::unique_ptr<TokenReviewer> reviewer_ = std::make_unique<TokenReviewer>(
      api_, std::set<std::string>{kZtunnel}, [this] { return now_; });
};

TEST_F(Reviewer, AsksOnceAndRemembers) {
  api_.answer = [](const auto&) { return answered(201, review(kZtunnel, "node-a")); };
  for (const auto& caller : ask(kToken, 3)) {
    ASSERT_TRUE(caller) << caller.error().to_string();
    EXPECT_EQ(caller->node, "node-a");
    EXPECT_TRUE(caller->is_node_proxy);
    EXPECT_EQ(std::chrono::system_clock::to_time_t(caller->expires), 2'000'000'000);
  }
  EXPECT_TRUE(ask(kToken).front());
  EXPECT_EQ(reviews(), 1U);
}

TEST_F(Reviewer, BringsBeforeTheServerOnlyWhatItMightAccept) {
  for (const std::string& token : {std::string("x"), kOthers, kExpired}) {
    EXPECT_EQ(ask(token).front().error().code, Code::kRefused) << token;
  }
  EXPECT_EQ(reviews(), 0U);
}

TEST_F(Reviewer, OthersAreNoNodeProxies) {
  api_.answer = [](const auto&) {
    return answered(201, review("system:serviceaccount:shop:weft-ztunnel", "node-a"));
  };
  EXPECT_FALSE(ask(kToken).front()->is_node_proxy);
}

TEST_F(Reviewer, WhatWasGoodStaysGoodWhileTheServerIsAway) {
  api_.answer = [](const auto&) { return answered(201, review(kZtunnel, "node-a")); };
  ASSERT_TRUE(ask(kToken).front());
  now_ += TokenTable::kFreshFor;
  const std::vector<FakeApi::Answer> silences = {
      [](const auto&) -> Result<FakeApi::Response> { return fail(Code::kTimeout, "slow"); },
      [](const auto&) { return answered(500); }, [](const auto&) { return answered(201, "{}"); },
      [](const auto&) { return answered(403); }};
  for (const auto& silence : silences) {
    api_.answer = silence;
    EXPECT_TRUE(ask(kToken).front());
    // Who was never seen is not believed, and told to come again.
    EXPECT_EQ(ask(kToken + "2").front().error().code, Code::kUnavailable);
  }
  // It is asked for again each time, and a no counts at once.
  api_.answer = [](const auto&) { return answered(201, kRefused); };
  EXPECT_EQ(ask(kToken).front().error().code, Code::kRefused);
  EXPECT_EQ(ask(kToken).front().error().code, Code::kRefused);
  EXPECT_EQ(reviews(), 1 + 2 * silences.size() + 1);
}

TEST_F(Reviewer, LooksForThePodWhereTheTokenNamesNoNode) {
  api_.answer = [](const auto& request) {
    return request.method == "POST"
               ? answered(201, review(kZtunnel, ""))
               : answered(200, R"({"metadata":{"uid":"u1"},"spec":{"nodeName":"node-b"}})");
  };
  EXPECT_EQ(ask(kToken).front()->node, "node-b");
  EXPECT_EQ(api_.asked.back().path, "/api/v1/namespaces/weft-system/pods/z-1");
}

TEST_F(Reviewer, StopTellsWhoWaits) {
  api_.is_gated = true;
  api_.answer = [](const auto&) -> Result<FakeApi::Response> {
    return fail(Code::kCancelled, "stopped");
  };
  std::vector<Result<Caller>> answers;
  const auto keep = [&](Result<Caller> caller) { answers.push_back(std::move(caller)); };
  // More tokens than may be asked for at once: some reviews have begun and some not.
  for (size_t i = 0; i < TokenReviewer::kReviewsMax + 5; ++i) {
    reviewer_->authenticate(kToken + std::to_string(i), keep);
  }
  loop_->post([this] { loop_->stop(); });
  loop_->run();
  EXPECT_EQ(reviews(), TokenReviewer::kReviewsMax);
  loop_->post([this] { api_.gate.set(); });
  testing::run(*loop_, reviewer_->stop());
  EXPECT_EQ(answers.size(), TokenReviewer::kReviewsMax + 5);
  for (const auto& answer : answers) EXPECT_EQ(answer.error().code, Code::kUnavailable);
  reviewer_->authenticate(kToken, keep);
  EXPECT_EQ(answers.back().error().code, Code::kUnavailable);
}

}  // namespace
}  // namespace weft::control::kube
