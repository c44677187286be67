#include "agent/source/kube/api_client.h"

#include "tests/unit/agent/source/kube/scripted_server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

namespace weft::source::kube {
namespace {

using runtime::Task;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using weft::testing::both;
using weft::testing::scripted_config;
using weft::testing::ScriptedServer;

using Stream = std::unique_ptr<http::H2Stream>;

Task<Result<Response>> get(ApiClient& client) { return client.request({.path = "/x"}); }
Task<Result<Response>> get_short(ApiClient& client) {
  return client.request({.path = "/x", .body_bytes_max = 100'000});
}
Task<Result<Response>> get_soon(ApiClient& client) {
  return client.request({.path = "/slow", .timeout = std::chrono::milliseconds(30)});
}

Task<void> say_ok(ScriptedServer& server, Stream stream) {
  co_await server.say(*stream, "200", "ok");
}
Task<void> say_slow_down(ScriptedServer& server, Stream stream) {
  co_await server.say(*stream, "429",
                      R"({"kind":"Status","reason":"TooManyRequests","message":"slow\ndown"})",
                      {{"retry-after", "3"}});
}
Task<void> say_much(ScriptedServer& server, Stream stream) {
  co_await server.say(*stream, "200", std::string(200'000, 'x'));
}
Task<void> say_unauthorized(ScriptedServer& server, Stream stream) {
  co_await server.say(*stream, "401", R"({"kind":"Status","reason":"Unauthorized"})");
}
std::string token_file() { return ::testing::TempDir() + "weft-token"; }
// Knows only the token that is written once the old one was refused.
Task<void> ask_for_new_token(ScriptedServer& server, Stream stream) {
  if (server.tokens.back() == "Bearer new") co_return co_await say_ok(server, std::move(stream));
  std::ofstream(token_file()) << "new";
  co_await say_unauthorized(server, std::move(stream));
}

// What the test's client sees with a server that answers so.
class Client : public ::testing::Test {
 protected:
  Client() : loop_(runtime::Loop::create_best().value()) {}

  void start(ScriptedServer::Answer answer, ApiConfig config = scripted_config()) {
    server_ = std::make_unique<ScriptedServer>(*loop_, std::move(answer));
    client_ = ApiClient::make(*loop_, std::move(config), server_->dial());
  }
  template <class T>
  T finish(Task<T> ask) {
    T result = weft::testing::run(*loop_, std::move(ask));
    weft::testing::run(*loop_, close());
    return result;
  }
  Task<void> close() {
    co_await client_->stop();
    held_.clear();
    co_await server_->join();
  }

  std::unique_ptr<runtime::Loop> loop_;
  std::unique_ptr<ScriptedServer> server_;
  std::unique_ptr<ApiClient> client_;
  std::vector<Stream> held_;
};

TEST_F(Client, AnswersAreAnswersWhateverTheirStatus) {
  start(say_slow_down);
  const auto response = finish(get(*client_));
  ASSERT_TRUE(response.has_value());
  EXPECT_EQ(response->status, 429);
  EXPECT_EQ(response->retry_after, std::chrono::seconds(3));
  const Refusal refusal = refusal_of(*response);
  EXPECT_EQ(refusal.reason, "TooManyRequests");
  EXPECT_EQ(refusal.to_error().code, Code::kUnavailable);
  EXPECT_FALSE(refusal.to_error().message.contains('\n'));
  EXPECT_THAT(server_->requests, ElementsAre("GET /x"));
}

TEST_F(Client, BodyLongerThanAskedForIsRefused) {
  start(say_much);
  const auto response = finish(get_short(*client_));
  ASSERT_FALSE(response.has_value());
  EXPECT_EQ(response.error().code, Code::kLimit);
}

Task<void> keep(std::vector<Stream>& held, Stream stream) {
  held.push_back(std::move(stream));
  co_return;
}

TEST_F(Client, RequestThatIsNotAnsweredTimesOut) {
  start([this](ScriptedServer&, Stream stream) { return keep(held_, std::move(stream)); });
  const auto response = finish(get_soon(*client_));
  ASSERT_FALSE(response.has_value());
  EXPECT_EQ(response.error().code, Code::kTimeout);
  EXPECT_THAT(response.error().message, HasSubstr("GET /slow in 30 ms"));
}

bool is_reset(const Result<Response>& response) {
  return !response && response.error().code == Code::kReset;
}

Task<bool> ask_across_breaks(ApiClient& client, ScriptedServer& server) {
  const auto [a, b] = co_await both(get(client), get(client));
  const bool one_dial = a.has_value() && b.has_value() && server.dials == 1;
  server.break_off();
  const auto third = co_await get(client);  // on its way while it broke, or dialled anew
  const auto fourth = co_await get(client);
  server.drain();
  const auto fifth = co_await get(client);
  const auto sixth = co_await get(client);
  co_return one_dial&& fourth.has_value() && sixth.has_value() && server.dials >= 3 &&
      (third || is_reset(third)) && (fifth || is_reset(fifth));
}

TEST_F(Client, DialsOnceForAllAndAgainAfterABreak) {
  start(say_ok);
  EXPECT_TRUE(finish(ask_across_breaks(*client_, *server_)));
}

Task<bool> ask_past_a_failed_dial(ApiClient& client, ScriptedServer& server, runtime::Loop& loop) {
  server.refused_dials = 1;
  const auto first = co_await get(client);
  const auto began = loop.now();
  const auto second = co_await get(client);
  const bool waited = loop.now() - began >= std::chrono::milliseconds(40);
  co_return !first && first.error().message.contains("refused") && second.has_value() && waited;
}

TEST_F(Client, DialThatFailsIsTheErrorAndIsTriedAgainLater) {
  start(say_ok);
  EXPECT_TRUE(finish(ask_past_a_failed_dial(*client_, *server_, *loop_)));
}

TEST_F(Client, RefusedTokenIsReadAgainOnce) {
  std::ofstream(token_file()) << "old";
  ApiConfig config = scripted_config();
  config.token.file = token_file();
  start(ask_for_new_token, config);
  const auto response = finish(get(*client_));
  ASSERT_TRUE(response.has_value());
  EXPECT_EQ(response->status, 200);
  EXPECT_THAT(server_->tokens, ElementsAre("Bearer old", "Bearer new"));

  start(say_unauthorized, config);
  EXPECT_EQ(finish(get(*client_))->status, 401);
  EXPECT_EQ(server_->requests.size(), 2U);
  std::filesystem::remove(token_file());
}

TEST_F(Client, TokenThatNoHeaderCarriesIsAnError) {
  ApiConfig config = scripted_config();
  config.token.value = "a\r\nb";
  start(say_ok, config);
  const auto response = finish(get(*client_));
  ASSERT_FALSE(response.has_value());
  EXPECT_EQ(response.error().code, Code::kInvalid);
  EXPECT_TRUE(server_->requests.empty());
}

constexpr const char* kLogin = R"(
[ "$MODE" = fail ] && { echo no session >&2; exit 3; }
echo "$KUBERNETES_EXEC_INFO" | grep -q '"interactive":false' || exit 4
printf '{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential",'
printf '"status":{"token":"from-%s"}}' $1
)";

Task<bool> ask_twice(ApiClient& client) {
  const auto [a, b] = co_await both(get(client), get(client));
  co_return a.has_value() && b.has_value();
}

TEST_F(Client, ExecPluginIsRunOnceAndItsFailureSaysWhatToDo) {
  const std::string script = ::testing::TempDir() + "weft-login";
  const std::string runs = script + ".runs";
  std::filesystem::remove(runs);
  std::ofstream(script) << "#!/bin/sh\necho run >> " << runs << kLogin;
  std::filesystem::permissions(script, std::filesystem::perms::owner_all);
  ApiConfig config = scripted_config();
  config.exec = ExecPlugin{.command = script,
                           .arguments = {"plugin"},
                           .environment = {},
                           .api_version = "client.authentication.k8s.io/v1",
                           .install_hint = "install it from there"};
  start(say_ok, config);
  EXPECT_TRUE(finish(ask_twice(*client_)));
  EXPECT_THAT(server_->tokens, ElementsAre("Bearer from-plugin", "Bearer from-plugin"));
  EXPECT_EQ(std::filesystem::file_size(runs), 4U) << "once";

  config.exec->environment = {{"MODE", "fail"}};
  start(say_ok, config);
  auto failed = finish(get(*client_));
  ASSERT_FALSE(failed.has_value());
  EXPECT_THAT(failed.error().to_string(), HasSubstr("exit status 3: no session"));
  config.exec->command = "/nowhere/login";
  start(say_ok, config);
  failed = finish(get(*client_));
  ASSERT_FALSE(failed.has_value());
  EXPECT_THAT(failed.error().to_string(), HasSubstr("install it from there"));
  std::filesystem::remove(script);
  std::filesystem::remove(runs);
}

}  // namespace
}  // namespace weft::source::kube
