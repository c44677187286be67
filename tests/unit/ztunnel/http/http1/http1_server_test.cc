#include "ztunnel/http/http1_server.h"

#include "tests/support/run_task.h"
#include "tests/support/transports.h"
#include "ztunnel/runtime/socket.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdio>
#include <thread>

namespace weft::http {
namespace {

using runtime::ByteStream;
using runtime::Task;
using testing::both;
using testing::read_all;
using testing::send;
using testing::send_and_end;
using testing::Transport;

Task<Response> echo(Request request) {
  Response response;
  if (request.path == "/missing") response.status = 404;
  if (request.path == "/nothing") response.status = 204;
  if (request.path == "/big") {
    response.body.assign(3 * 1024 * 1024, 'b');
    co_return response;
  }
  response.body = request.method + " " + request.path + " " + request.query + " " +
                  std::to_string(request.body.size());
  co_return response;
}

Task<bool> serve(runtime::Loop& loop, std::unique_ptr<ByteStream> connection,
                 const Handler& handler) {
  co_await serve_http1(loop, std::move(connection), handler);
  co_return true;
}

class Http1ServerTest : public ::testing::TestWithParam<Transport> {
 public:
  void SetUp() override {
    Result<std::unique_ptr<runtime::Loop>> loop = testing::make_loop(GetParam());
    if (!loop) {
      GTEST_SKIP() << "no " << testing::to_string(GetParam()) << ": " << loop.error().to_string();
    }
    loop_ = std::move(*loop);
  }

  // What comes back for these bytes; the client then ends its side.
  std::string answer_to(std::string_view bytes) {
    auto [client, server] = testing::make_pair(*loop_, GetParam());
    auto [served, exchanged] =
        testing::run(*loop_, both(serve(*loop_, std::move(server), handler_),
                                  both(send_and_end(*loop_, *client, bytes), read_all(*client))));
    EXPECT_TRUE(served);
    return exchanged.second.value_or("broken");
  }

  Result<Response> fetch(std::string method, std::string target, std::string body) {
    auto [client, server] = testing::make_pair(*loop_, GetParam());
    return testing::run(*loop_, both(serve(*loop_, std::move(server), handler_),
                                     fetch_http1(*loop_, std::move(client), std::move(method),
                                                 std::move(target), std::move(body))))
        .second;
  }

 protected:
  Handler handler_ = echo;
  std::unique_ptr<runtime::Loop> loop_;
};

TEST_P(Http1ServerTest, AnswersOneRequestAfterTheOther) {
  const std::string answer = answer_to(
      "GET /a?b=c HTTP/1.1\r\nHost: x\r\n\r\n"
      "POST /missing HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi"
      "GET /never HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_EQ(answer,
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\n"
            "Content-Length: 12\r\n\r\nGET /a b=c 0"
            "HTTP/1.1 404 Not Found\r\nContent-Type: text/plain; charset=utf-8\r\n"
            "Content-Length: 16\r\nConnection: close\r\n\r\nPOST /missing  2");
}

TEST_P(Http1ServerTest, AnswersHeadWithoutABody) {
  const std::string answer = answer_to("HEAD /a HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_THAT(answer, ::testing::HasSubstr("Content-Length: 10\r\n"));
  EXPECT_THAT(answer, ::testing::EndsWith("\r\n\r\n"));
}

TEST_P(Http1ServerTest, RefusesWhatIsMalformedAndCloses) {
  for (const std::string_view bytes :
       {"GET / HTTP/1.1\nHost: x\n\n", "GET / HTTP/1.1\r\nHost: x\r\nX : y\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\n"}) {
    const std::string answer =
        answer_to(std::string(bytes) + "GET /second HTTP/1.1\r\nHost: x\r\n\r\n");
    EXPECT_THAT(answer, ::testing::StartsWith("HTTP/1.1 400 Bad Request\r\n"));
    EXPECT_THAT(answer, ::testing::HasSubstr("Connection: close\r\n"));
    EXPECT_THAT(answer, ::testing::Not(::testing::HasSubstr("/second")));
  }
}

TEST_P(Http1ServerTest, AClientThatSendsTooMuchGetsItsAnswer) {
  const std::string answer =
      answer_to("GET / HTTP/1.1\r\nHost: x\r\nX: " + std::string(200'000, 'a') + "\r\n\r\n");
  EXPECT_THAT(answer, ::testing::StartsWith("HTTP/1.1 431 "));
}

TEST_P(Http1ServerTest, FetchesFromItself) {
  const Response posted = fetch("POST", "/a?b", std::string(500'000, 'x')).value();
  EXPECT_EQ(posted.status, 200);
  EXPECT_EQ(posted.body, "POST /a b 500000");
  EXPECT_EQ(fetch("GET", "/missing", "").value().status, 404);
  EXPECT_EQ(fetch("GET", "/nothing", "").value().status, 204);
  EXPECT_EQ(fetch("HEAD", "/a", "").value().body, "");
  EXPECT_EQ(fetch("GET", "/big", "").value().body.size(), 3U * 1024 * 1024);
  EXPECT_EQ(fetch("POST", "/a", std::string(kRequestBodyBytesMax + 1, 'x')).value().status, 413);
}

TEST_P(Http1ServerTest, FetchingRefusesTargetsThatWouldBeginAnotherLine) {
  EXPECT_EQ(fetch("GET", "/a HTTP/1.1\r\nX: y", "").error().code, Code::kInvalid);
  EXPECT_EQ(fetch("GET\r\n", "/a", "").error().code, Code::kInvalid);
}

TEST_P(Http1ServerTest, FetchingTellsATruncatedAnswer) {
  auto [client, server] = testing::make_pair(*loop_, GetParam());
  auto [sent, got] = testing::run(
      *loop_,
      both(send_and_end(*loop_, *server, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"),
           fetch_http1(*loop_, std::move(client), "GET", "/status", "")));
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().code, Code::kClosed);
  EXPECT_THAT(got.error().to_string(), ::testing::HasSubstr("GET /status"));
}

TEST_P(Http1ServerTest, FetchingTellsSomethingThatIsNotHttp) {
  auto [client, server] = testing::make_pair(*loop_, GetParam());
  auto [sent, got] =
      testing::run(*loop_, both(send_and_end(*loop_, *server, "SSH-2.0-OpenSSH\r\n\r\n"),
                                fetch_http1(*loop_, std::move(client), "GET", "/status", "")));
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().code, Code::kInvalid);
}

INSTANTIATE_TEST_SUITE_P(Over, Http1ServerTest,
                         ::testing::Values(Transport::kMemory, Transport::kEpollSockets,
                                           Transport::kUringSockets),
                         [](const auto& info) { return testing::to_string(info.param); });

// curl against a unix socket, as the CLI and people use the admin endpoints.
class CurlTest : public ::testing::Test {
 public:
  void SetUp() override {
    if (std::system("curl --version >/dev/null 2>&1") != 0) GTEST_SKIP() << "no curl";
    listener_ = runtime::listen_unix(path_, 0600).value();
  }
  ~CurlTest() override { unlink(path_.c_str()); }

  // Serves while curl runs on another thread; returns what curl printed.
  std::string curl(const std::string& arguments) {
    std::string output;
    runtime::Acceptor acceptor(*loop_, listener_.get(),
                               [this](Fd fd) { return handle(std::move(fd)); });
    std::thread client([&] {
      const std::string command =
          "curl -sS --max-time 20 --unix-socket " + path_ + " " + arguments + " 2>&1";
      FILE* pipe = popen(command.c_str(), "r");
      char part[4096];
      size_t size = 0;
      while ((size = fread(part, 1, sizeof part, pipe)) > 0) output.append(part, size);
      pclose(pipe);
      loop_->post([&acceptor] { acceptor.stop(); });
    });
    testing::run(*loop_, run_until_stopped(acceptor));
    client.join();
    return output;
  }

 private:
  Task<void> handle(Fd fd) {
    serving_.spawn(serve_http1(
        *loop_, std::make_unique<runtime::SocketStream>(*loop_, std::move(fd)), handler_));
    co_return;
  }
  Task<void> run_until_stopped(runtime::Acceptor& acceptor) {
    co_await acceptor.run();
    co_await serving_.join();
  }

  std::string path_ = ::testing::TempDir() + "weft-http1-" + std::to_string(getpid()) + ".sock";
  Handler handler_ = echo;
  runtime::TaskScope serving_;
  std::unique_ptr<runtime::Loop> loop_ = runtime::Loop::create(runtime::Backend::kEpoll).value();
  Fd listener_;
};

TEST_F(CurlTest, Gets) { EXPECT_EQ(curl("http://x/status?a=1"), "GET /status a=1 0"); }

TEST_F(CurlTest, ReusesItsConnection) {
  EXPECT_EQ(curl("-w '[%{num_connects}]' http://x/a http://x/b"), "GET /a  0[1]GET /b  0[0]");
}

TEST_F(CurlTest, PostsAndWaitsForContinue) {
  EXPECT_EQ(curl("-H 'Expect: 100-continue' --data-binary @/proc/self/maps -o /dev/null "
                 "-w '%{http_code}' http://x/a"),
            "200");
}

TEST_F(CurlTest, PostsChunked) {
  EXPECT_EQ(curl("-H 'Transfer-Encoding: chunked' -d 12345 http://x/a"), "POST /a  5");
}

TEST_F(CurlTest, AsksForHeadersOnly) {
  EXPECT_THAT(curl("-I http://x/missing"), ::testing::StartsWith("HTTP/1.1 404 Not Found"));
}

TEST_F(CurlTest, SpeaksTheOldVersion) { EXPECT_EQ(curl("--http1.0 http://x/a"), "GET /a  0"); }

TEST_F(CurlTest, GetsABigBody) {
  EXPECT_EQ(curl("-o /dev/null -w '%{size_download}' http://x/big"), "3145728");
}

}  // namespace
}  // namespace weft::http
