#include "ztunnel/dns/exchange.h"

#include "tests/support/backends.h"
#include "tests/support/run_task.h"
#include "tests/unit/ztunnel/dns/fake_server.h"

namespace weft::dns {
namespace {

using runtime::Backend;
using runtime::Loop;
using runtime::Task;
using std::chrono::milliseconds;
using std::chrono::seconds;

class ExchangeTest : public ::testing::TestWithParam<Backend> {
 protected:
  void SetUp() override {
    auto made = Loop::create(GetParam());
    if (!made) GTEST_SKIP() << made.error().to_string();
    loop_ = std::move(*made);
  }
  Loop& loop() { return *loop_; }
  Result<std::string> ask(FakeServer& server, std::string query, milliseconds limit = seconds(20)) {
    Exchange exchange(loop(), server.address(), -1);
    auto answer = testing_run(exchange.ask(std::move(query), limit));
    weft::testing::run(loop(), server.stop());
    return answer;
  }
  Result<std::string> testing_run(Task<Result<std::string>> task) {
    return weft::testing::run(loop(), std::move(task));
  }

 private:
  std::unique_ptr<Loop> loop_;
};

TEST_P(ExchangeTest, TheAnswerCarriesTheQuerysOwnId) {
  std::vector<uint16_t> ids;
  FakeServer server(loop(), [&](const std::string& query, bool) {
    ids.push_back(id_of(query));
    return std::vector{encode(answer_with(query, {"192.0.2.1"}), 512)};
  });
  const auto answer = ask(server, query_for("a.example.com", type::kA, 0x4242));
  ASSERT_TRUE(answer) << answer.error().to_string();
  EXPECT_EQ(id_of(*answer), 0x4242);
  EXPECT_EQ(parse(*answer)->answers.size(), 1U);
}

TEST_P(ExchangeTest, WhatAnotherSentIsPassedOver) {
  FakeServer server(loop(), [](const std::string& query, bool) {
    std::string other_id = encode(answer_with(query, {"192.0.2.66"}), 512);
    set_id(other_id, static_cast<uint16_t>(id_of(query) + 1));
    Message other_question = answer_with(query, {"192.0.2.66"});
    other_question.question->name = *Name::parse("b.example.com");
    Message right = answer_with(query, {"192.0.2.1"});
    right.question->name = *Name::parse("A.example.COM");  // a server may change the case
    return std::vector<std::string>{
        "", "x", query, other_id, encode(other_question, 512), encode(right, 512)};
  });
  const auto answer = ask(server, query_for("a.example.com", type::kA));
  ASSERT_TRUE(answer) << answer.error().to_string();
  EXPECT_EQ(std::get<IpAddress>(parse(*answer)->answers.at(0).data),
            *IpAddress::parse("192.0.2.1"));
}

TEST_P(ExchangeTest, ALostDatagramIsSentAgain) {
  int seen = 0;
  FakeServer server(loop(), [&](const std::string& query, bool) {
    if (++seen == 1) return std::vector<std::string>{};
    return std::vector{encode(answer_with(query, {"192.0.2.1"}), 512)};
  });
  const auto answer = ask(server, query_for("a.example.com", type::kA));
  EXPECT_TRUE(answer);
  EXPECT_EQ(server.asked_over_udp, 2);
}

TEST_P(ExchangeTest, ATruncatedAnswerIsAskedForOverTcp) {
  FakeServer server(loop(), [](const std::string& query, bool tcp) {
    Message answer = answer_with(query, std::vector<std::string>(100, "192.0.2.1"));
    return std::vector{encode(answer, tcp ? kMessageBytesMax : 512)};
  });
  const auto answer = ask(server, query_for("a.example.com", type::kA, 9));
  ASSERT_TRUE(answer);
  EXPECT_EQ(parse(*answer)->answers.size(), 100U);
  EXPECT_EQ(id_of(*answer), 9);
  EXPECT_EQ(server.asked_over_tcp, 1);
}

TEST_P(ExchangeTest, ATruncatedAnswerIsBetterThanNone) {
  FakeServer server(loop(), [](const std::string& query, bool tcp) {
    Message answer = answer_with(query, std::vector<std::string>(100, "192.0.2.1"));
    if (tcp) return std::vector<std::string>{"garbage"};
    return std::vector{encode(answer, 512)};
  });
  const auto answer = ask(server, query_for("a.example.com", type::kA));
  ASSERT_TRUE(answer);
  EXPECT_TRUE(parse(*answer)->header.truncated);
}

TEST_P(ExchangeTest, ASilentServerEndsAtTheLimit) {
  FakeServer server(loop(), [](const std::string&, bool) { return std::vector<std::string>{}; });
  const auto answer = ask(server, query_for("a.example.com", type::kA), milliseconds(50));
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code, Code::kTimeout);
}

TEST_P(ExchangeTest, AClosedPortIsToldAtOnce) {
  FakeServer server(loop(), [](const std::string&, bool) { return std::vector<std::string>{}; });
  SocketAddress closed = server.address();
  closed.ip = IpAddress::v4(0x7f000002);
  Exchange exchange(loop(), closed, -1);
  const auto answer = testing_run(exchange.ask(query_for("a", type::kA), seconds(60)));
  weft::testing::run(loop(), server.stop());
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code, Code::kRefused) << answer.error().to_string();
}

Task<void> abort_soon(Loop& loop, Exchange& exchange) {
  co_await loop.sleep(milliseconds(1));
  exchange.abort();
}

TEST_P(ExchangeTest, AbortEndsIt) {
  FakeServer server(loop(), [](const std::string&, bool) { return std::vector<std::string>{}; });
  Exchange exchange(loop(), server.address(), -1);
  loop().spawn(abort_soon(loop(), exchange));
  const auto answer = testing_run(exchange.ask(query_for("a", type::kA), seconds(60)));
  weft::testing::run(loop(), server.stop());
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code, Code::kCancelled);
}

BOTH_BACKENDS(ExchangeTest);

}  // namespace
}  // namespace weft::dns
