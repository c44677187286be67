#include "tests/unit/ztunnel/http/http1/http1_fixture.h"
#include "ztunnel/http/h2_accept.h"
#include "ztunnel/http/h2_ask.h"
#include "ztunnel/http/h2_translate.h"

#include <gmock/gmock.h>

namespace weft::http {
namespace {

using runtime::Buffer;
using runtime::ByteStream;
using runtime::Task;
using ::testing::HasSubstr;
using ::testing::StartsWith;

Task<void> answer_and_let_go(runtime::Loop& loop, std::unique_ptr<ServerExchange> exchange) {
  co_await testing::answer(loop, *exchange);
}

// Until the connection ends; what it refused.
Task<std::string> serve(runtime::Loop& loop, std::unique_ptr<ByteStream> stream) {
  std::string refused;
  runtime::TaskScope requests;
  Http2Server server(
      loop, std::move(stream),
      [&](std::unique_ptr<ServerExchange> exchange) {
        requests.spawn(answer_and_let_go(loop, std::move(exchange)));
      },
      [&](int status, const std::string& reason) {
        refused += std::to_string(status) + " " + reason;
      });
  static_cast<void>(co_await server.run());
  co_await requests.join();
  co_return refused;
}

struct Asked {
  std::string method = "GET";
  std::string path = "/";
  std::string body = {};
  std::vector<Header> fields = {};
  std::string protocol = {};
};

Task<std::string> ask(runtime::Loop& loop, Http2Client& client, Asked asked) {
  const std::unique_ptr<ClientExchange> exchange = client.begin();
  RequestHead head;
  head.method = asked.method;
  head.scheme = "http";
  head.authority = "a";
  head.path = asked.path;
  head.protocol = asked.protocol;
  for (const Header& field : asked.fields) head.fields.add(field.name, field.value);
  Result<void> sent = co_await exchange->send(head, asked.body.empty());
  if (sent && !asked.body.empty() && asked.protocol.empty()) {
    sent = co_await exchange->write(loop.buffers().copy_of(asked.body));
    FieldList trailers;
    trailers.add("x-end", "1");
    if (sent) sent = co_await exchange->finish(std::move(trailers));
  }
  if (!sent) co_return "not sent: " + sent.error().to_string();
  Result<ResponseHead> response = co_await exchange->response();
  if (!response) co_return "no answer: " + response.error().to_string();
  if (response->status == 101) {
    Result<std::unique_ptr<ByteStream>> stream = co_await exchange->take_stream();
    static_cast<void>(co_await (*stream)->write(loop.buffers().copy_of(asked.body)));
    const Result<std::string> echoed = co_await weft::testing::read_all(**stream);
    co_return "101 " + echoed.value_or("broken");
  }
  Result<std::string> got = co_await testing::read_body(*exchange);
  co_return std::to_string(response->status) + " " + (got ? *got : "broken");
}

Task<std::vector<std::string>> ask_all(runtime::Loop& loop, std::unique_ptr<ByteStream> stream,
                                       std::vector<Asked> all) {
  const std::shared_ptr<Http2Client> client = Http2Client::start(loop, std::move(stream));
  std::vector<std::string> answers;
  for (Asked& asked : all) answers.push_back(co_await ask(loop, *client, std::move(asked)));
  co_return answers;
}

class Http2ExchangeTest : public ::testing::Test {
 public:
  std::vector<std::string> answers_to(std::vector<Asked> all) {
    auto [client, server] = runtime::make_memory_pipe();
    auto [refused, answers] = weft::testing::run(
        *loop_, weft::testing::both(serve(*loop_, std::move(server)),
                                    ask_all(*loop_, std::move(client), std::move(all))));
    refused_ = refused;
    return answers;
  }

 protected:
  std::unique_ptr<runtime::Loop> loop_ = *runtime::Loop::create_best();
  std::string refused_;
};

TEST_F(Http2ExchangeTest, CarriesBodiesAndTrailersBothWays) {
  const auto answers = answers_to({{.method = "POST", .path = "/trailers", .body = "body"},
                                   {.path = "/length?q"},
                                   {.path = "/none"},
                                   {.method = "HEAD", .path = "/length"}});
  EXPECT_THAT(answers, ::testing::ElementsAre("200 POST a/trailers {body [x-end=1]} [x-sum=7]",
                                              "200 GET a/length?q {}", "204 ", "200 "));
  EXPECT_EQ(refused_, "");
}

TEST_F(Http2ExchangeTest, JoinsCookiesAndLeavesOutWhatIsOfOneHop) {
  const auto answers = answers_to({{.fields = {{"cookie", "a=1"},
                                               {"x", "y"},
                                               {"cookie", "b=2"},
                                               {"connection", "close"},
                                               {"te", "trailers"}}}});
  EXPECT_EQ(answers.front(), "200 GET a/ cookie=a=1; b=2 x=y te=trailers {}");
}

TEST_F(Http2ExchangeTest, UpgradesByExtendedConnect) {
  // The server's settings come with its first answer.
  const auto answers = answers_to(
      {{.path = "/none"}, {.path = "/upgrade", .body = "ping", .protocol = "websocket"}});
  EXPECT_EQ(answers[1], "101 ping");
}

TEST_F(Http2ExchangeTest, AnEarlyAnswerArrivesWhole) {
  const auto answers =
      answers_to({{.method = "POST", .path = "/early", .body = std::string(60'000, 'b')}});
  EXPECT_EQ(answers.front(), "200 POST a/early");
}

struct Refused {
  std::string name;
  std::vector<Header> headers;
};

class Http2RefusedTest : public ::testing::TestWithParam<Refused> {};

TEST_P(Http2RefusedTest, IsNoRequest) { EXPECT_FALSE(to_request(GetParam().headers).has_value()); }

std::vector<Header> with(std::vector<Header> more, std::string path = "/",
                         std::string authority = "a") {
  std::vector<Header> headers{{":method", "GET"}, {":scheme", "http"}};
  if (!authority.empty()) headers.push_back({":authority", std::move(authority)});
  headers.push_back({":path", std::move(path)});
  headers.insert(headers.end(), more.begin(), more.end());
  return headers;
}

const Refused kRefused[] = {
    {"OtherHost", with({{"host", "b"}})},
    {"TwoHosts", with({{"host", "a"}, {"host", "a"}})},
    {"NoAuthority", with({}, "/", "")},
    {"SpaceInPath", with({}, "/a b HTTP/1.1")},
    {"LineEndInPath", with({}, "/a\r\nx: y")},
    {"RelativePath", with({}, "a")},
    {"EmptyPath", with({}, "")},
    {"SpaceInAuthority", with({}, "/", "a b")},
    {"Connect", {{":method", "CONNECT"}, {":authority", "a:443"}}},
};

INSTANTIATE_TEST_SUITE_P(Head, Http2RefusedTest, ::testing::ValuesIn(kRefused),
                         [](const auto& info) { return info.param.name; });

TEST(Http2HeadTest, TakesTheHostWhereThereIsNoAuthority) {
  Result<RequestHead> head = to_request(with({{"host", "shop"}, {"x", "y"}}, "/p", ""));
  ASSERT_TRUE(head.has_value());
  EXPECT_EQ(head->authority, "shop");
  EXPECT_EQ(head->fields.find("host"), nullptr);
}

}  // namespace
}  // namespace weft::http
