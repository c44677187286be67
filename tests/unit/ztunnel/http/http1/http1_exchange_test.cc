#include "tests/support/run_task.h"
#include "ztunnel/http/http1_accept.h"
#include "ztunnel/http/http1_ask.h"
#include "ztunnel/runtime/memory_pipe.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace weft::http {
namespace {

using runtime::Buffer;
using runtime::ByteStream;
using runtime::Task;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::StartsWith;

Task<Result<std::string>> read_body(BodyReader& reader) {
  std::string body;
  while (true) {
    Result<Buffer> bytes = co_await reader.read();
    if (!bytes) co_return Fail(std::move(bytes.error()));
    if (bytes->empty()) break;
    body += bytes->text();
  }
  for (const FieldList::Field& field : reader.take_trailers().all()) {
    body += " [" + std::string(field.name) + "=" + std::string(field.value) + "]";
  }
  co_return body;
}

// Says what it was asked; /length says its length first, /none has no body.
Task<void> answer(runtime::Loop& loop, ServerExchange& exchange) {
  const RequestHead& request = exchange.request();
  std::string said = std::string(request.method) + " " + std::string(request.authority) +
                     std::string(request.path);
  for (const FieldList::Field& field : request.fields.all()) {
    said += " " + std::string(field.name) + "=" + std::string(field.value);
  }
  const bool has_length = request.path.starts_with("/length");
  if (request.path == "/upgrade") {
    Result<std::unique_ptr<ByteStream>> stream = co_await exchange.upgrade({});
    if (!stream) co_return;
    Result<Buffer> bytes = co_await (*stream)->read();
    if (bytes) static_cast<void>(co_await (*stream)->write(std::move(*bytes)));
    static_cast<void>(co_await (*stream)->shutdown_write());
    co_return;
  }
  Result<std::string> body = co_await read_body(exchange);
  if (!body) co_return;
  said += " {" + *body + "}";
  ResponseHead head;
  if (request.path == "/none") {
    head.status = 204;
    static_cast<void>(co_await exchange.respond(std::move(head), true));
    co_return;
  }
  if (has_length) head.fields.add("content-length", std::to_string(said.size()));
  static_cast<void>(co_await exchange.respond(std::move(head), false));
  static_cast<void>(co_await exchange.write(loop.buffers().copy_of(said)));
  FieldList trailers;
  if (request.path == "/trailers") trailers.add("x-sum", "7");
  static_cast<void>(co_await exchange.finish(std::move(trailers)));
}

Task<bool> serve(runtime::Loop& loop, std::unique_ptr<ByteStream> stream) {
  Http1Server server(loop, std::move(stream), {});
  while (true) {
    std::unique_ptr<ServerExchange> exchange = co_await server.next();
    if (!exchange) co_return true;
    co_await answer(loop, *exchange);
  }
}

class Http1ExchangeTest : public ::testing::Test {
 public:
  // What comes back for these bytes; the client then ends its side.
  std::string answer_to(std::string_view bytes) {
    auto [client, server] = runtime::make_memory_pipe();
    auto [served, exchanged] = testing::run(
        *loop_, testing::both(serve(*loop_, std::move(server)),
                              testing::both(testing::send_and_end(*loop_, *client, bytes),
                                            testing::read_all(*client))));
    EXPECT_TRUE(served);
    return exchanged.second.value_or("broken");
  }

 protected:
  std::unique_ptr<runtime::Loop> loop_ = *runtime::Loop::create_best();
};

TEST_F(Http1ExchangeTest, AnswersPipelinedRequestsInTheirOrder) {
  const std::string got = answer_to(
      "GET /length HTTP/1.1\r\nHost: a\r\nX-One: 1\r\n\r\n"
      "POST /length?q HTTP/1.1\r\nHost: b:80\r\nContent-Length: 2\r\n\r\nhi"
      "GET /none HTTP/1.1\r\nHost: c\r\n\r\n");
  EXPECT_EQ(got,
            "HTTP/1.1 200 OK\r\ncontent-length: 23\r\n\r\nGET a/length x-one=1 {}"
            "HTTP/1.1 200 OK\r\ncontent-length: 40\r\n\r\nPOST b:80/length?q content-length=2 {hi}"
            "HTTP/1.1 204 No Content\r\n\r\n");
}

}  // namespace
}  // namespace weft::http
