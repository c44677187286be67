#include "tests/unit/ztunnel/http/http1/http1_fixture.h"
#include "ztunnel/http/http1_accept.h"
#include "ztunnel/http/http1_ask.h"

#include <gmock/gmock.h>

namespace weft::http {
namespace {

using testing::Buffer;
using testing::ByteStream;
using ::testing::HasSubstr;
using ::testing::StartsWith;
using testing::Task;

class Http1ExchangeTest : public testing::Http1Test {};

TEST_F(Http1ExchangeTest, AnswersPipelinedRequestsInTheirOrder) {
  for (const size_t piece : {1U, 7U, 4096U}) {
    const Answered got = answer_to(
        "GET /length HTTP/1.1\r\nHost: a\r\nX-One: 1\r\n\r\n"
        "POST /length?q HTTP/1.1\r\nHost: b:80\r\nContent-Length: 2\r\n\r\nhi"
        "GET /none HTTP/1.1\r\nHost: c\r\n\r\n",
        piece);
    EXPECT_EQ(
        got.bytes,
        "HTTP/1.1 200 OK\r\ncontent-length: 23\r\n\r\nGET a/length x-one=1 {}"
        "HTTP/1.1 200 OK\r\ncontent-length: 40\r\n\r\nPOST b:80/length?q content-length=2 {hi}"
        "HTTP/1.1 204 No Content\r\n\r\n");
    EXPECT_EQ(got.requests, 3);
  }
}

TEST_F(Http1ExchangeTest, ReadsChunksAndTrailersHoweverTheyCome) {
  for (const size_t piece : {1U, 3U, 4096U}) {
    const Answered got = answer_to(
        "POST /length HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: x-t\r\n\r\n"
        "3;ext=\"1\"\r\nabc\r\n00A\r\n0123456789\r\n0\r\nX-T: done\r\n\r\n"
        "GET /none HTTP/1.1\r\nHost: a\r\n\r\n",
        piece);
    EXPECT_THAT(got.bytes, HasSubstr("POST a/length trailer=x-t {abc0123456789 [x-t=done]}"));
    EXPECT_EQ(got.requests, 2);
  }
}

TEST_F(Http1ExchangeTest, WritesChunksAndTrailers) {
  const Answered got = answer_to("GET /trailers HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_EQ(got.bytes,
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
            "11\r\nGET a/trailers {}\r\n0\r\nx-sum: 7\r\n\r\n");
}

TEST_F(Http1ExchangeTest, AnswersAnOldClientUntilTheEnd) {
  EXPECT_EQ(answer_to("GET /x HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").bytes,
            "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nGET /x {}");
  EXPECT_EQ(answer_to("GET /length HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
                      "GET /length HTTP/1.0\r\n\r\n")
                .bytes,
            "HTTP/1.1 200 OK\r\ncontent-length: 14\r\nconnection: keep-alive\r\n\r\nGET /length {}"
            "HTTP/1.1 200 OK\r\ncontent-length: 14\r\nconnection: close\r\n\r\nGET /length {}");
}

TEST_F(Http1ExchangeTest, HeadAndEmptyAnswersHaveNoBody) {
  EXPECT_EQ(
      answer_to("HEAD /length HTTP/1.1\r\nHost: a\r\n\r\nGET /none HTTP/1.1\r\nHost: a\r\n\r\n")
          .bytes,
      "HTTP/1.1 200 OK\r\ncontent-length: 16\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n");
}

TEST_F(Http1ExchangeTest, SaysContinueOnceTheBodyIsWanted) {
  const std::string head =
      "POST /length HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n";
  EXPECT_THAT(answer_to(head + "hi", head.size()).bytes,
              StartsWith("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n"));
  // Where it is not wanted, what follows could be the body or another request.
  const Answered early = answer_to(
      "POST /early HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");
  EXPECT_THAT(early.bytes, HasSubstr("connection: close\r\n"));
  EXPECT_EQ(early.requests, 1);
}

TEST_F(Http1ExchangeTest, AnUnreadBodyIsNotTheNextRequest) {
  const Answered got = answer_to(
      "POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: 40\r\n\r\n"
      "GET /none HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_EQ(got.requests, 1);
}

TEST_F(Http1ExchangeTest, LeavesOutWhatIsOfOneHop) {
  const Answered got = answer_to(
      "GET /length HTTP/1.1\r\nHost: a\r\nConnection: close, X-Mine\r\nX-Mine: 1\r\n"
      "Keep-Alive: 5\r\nTE: trailers\r\nUpgrade: h2c\r\nX-Kept: 2\r\n\r\n");
  EXPECT_THAT(got.bytes, HasSubstr("GET a/length te=trailers x-kept=2 {}"));
  EXPECT_THAT(got.bytes, HasSubstr("connection: close\r\n"));
}

TEST_F(Http1ExchangeTest, TakesAnAbsoluteTarget) {
  EXPECT_THAT(answer_to("GET http://shop:80/length?a HTTP/1.1\r\nHost: shop:80\r\n\r\n").bytes,
              HasSubstr("GET shop:80/length?a {}"));
}

TEST_F(Http1ExchangeTest, UpgradesToBytes) {
  const Answered got = answer_to(
      "GET /upgrade HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nping");
  EXPECT_EQ(got.bytes,
            "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"
            "ping");
}

TEST_F(Http1ExchangeTest, ASlowHeadIsTimedOut) {
  auto [client, server] = runtime::make_memory_pipe();
  Http1Options options;
  options.head_timeout = std::chrono::milliseconds(20);
  static_cast<void>(weft::testing::run(*loop_, weft::testing::send(*loop_, *client, "GET / HT")));
  auto [requests, answer] = weft::testing::run(
      *loop_, weft::testing::both(testing::serve(*loop_, std::move(server), options),
                                  weft::testing::read_some(*client, 12)));
  EXPECT_EQ(requests, 0);
  EXPECT_THAT(answer.value_or(""), StartsWith("HTTP/1.1 408 "));
}

// One request over a connection of ours, and what came back.
Task<std::string> ask(runtime::Loop& loop, Http1Client& client, std::string method,
                      std::string path, std::string body) {
  const std::unique_ptr<ClientExchange> exchange = client.begin();
  RequestHead head;
  head.method = method;
  head.authority = "a";
  head.path = path;
  Result<void> sent = co_await exchange->send(head, body.empty());
  if (sent && !body.empty()) {
    sent = co_await exchange->write(loop.buffers().copy_of(body));
    FieldList trailers;
    trailers.add("x-end", "1");
    if (sent) sent = co_await exchange->finish(std::move(trailers));
  }
  Result<ResponseHead> response = co_await exchange->response();
  if (!response) co_return "no answer: " + response.error().to_string();
  Result<std::string> got = co_await testing::read_body(*exchange);
  co_return std::to_string(response->status) + " " + (got ? *got : "broken");
}

Task<std::string> ask_three(runtime::Loop& loop, std::unique_ptr<ByteStream> stream) {
  Http1Client client(loop, std::move(stream));
  std::string all = co_await ask(loop, client, "POST", "/trailers", "body");
  all += "|" + co_await ask(loop, client, "GET", "/none", "");
  all += "|" + co_await ask(loop, client, "HEAD", "/length", "");
  all += client.is_free() ? "|free" : "|spent";
  co_return all;
}

TEST_F(Http1ExchangeTest, AsksAgainOverTheSameConnection) {
  auto [client, server] = runtime::make_memory_pipe();
  auto [requests, got] =
      weft::testing::run(*loop_, weft::testing::both(testing::serve(*loop_, std::move(server)),
                                                     ask_three(*loop_, std::move(client))));
  EXPECT_EQ(requests, 3);
  EXPECT_EQ(got, "200 POST a/trailers {body [x-end=1]} [x-sum=7]|204 |200 |free");
}

// What a client makes of these bytes of a server, which then ends.
Task<std::string> hear(runtime::Loop& loop, std::unique_ptr<ByteStream> stream) {
  Http1Client client(loop, std::move(stream));
  std::string got = co_await ask(loop, client, "GET", "/", "");
  co_return got + (client.is_free() ? "|free" : "|spent");
}

struct Said {
  std::string name;
  std::string bytes;
  std::string heard;
};

class ServersWordTest : public testing::Http1Test, public ::testing::WithParamInterface<Said> {};

TEST_P(ServersWordTest, IsUnderstoodOrRefused) {
  for (const size_t piece : {1U, 4096U}) {
    auto [client, server] = runtime::make_memory_pipe();
    auto [heard, sent] = weft::testing::run(
        *loop_,
        weft::testing::both(hear(*loop_, std::move(client)),
                            testing::send_in_pieces(*loop_, *server, GetParam().bytes, piece)));
    EXPECT_THAT(heard, StartsWith(GetParam().heard)) << "in pieces of " << piece;
  }
}

const Said kSaid[] = {
    {"UntilTheEnd", "HTTP/1.1 200 OK\r\n\r\nall of it", "200 all of it|spent"},
    {"Interim",
     "HTTP/1.1 103 Early Hints\r\nlink: a\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
     "103 "},
    {"NoReason", "HTTP/1.1 204\r\n\r\n", "204 "},
    {"Nothing", "", "no answer: HTTP/1.1: the server ended"},
    {"CutHead", "HTTP/1.1 200 OK\r\nx: ", "no answer: "},
    {"CutBody", "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nabc", "200 broken|spent"},
    {"CutChunk", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nabc",
     "200 broken|spent"},
    {"NotHttp", "SSH-2.0-OpenSSH\r\n\r\n", "no answer: HTTP/1.1 response: "},
    {"LengthBesideChunked",
     "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
     "no answer: "},
    {"TwoLengths", "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nabcde",
     "no answer: "},
    {"BareLineFeed", "HTTP/1.1 200 OK\nx: y\n\n", "no answer: "},
    {"MoreThanAsked", "HTTP/1.1 204 No\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", "204 "},
};

INSTANTIATE_TEST_SUITE_P(Server, ServersWordTest, ::testing::ValuesIn(kSaid),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace weft::http
