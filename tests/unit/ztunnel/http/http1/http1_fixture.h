#pragma once

#include "tests/support/run_task.h"
#include "ztunnel/http/exchange.h"
#include "ztunnel/http/http1_accept.h"
#include "ztunnel/runtime/memory_pipe.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <utility>

namespace weft::http::testing {

using runtime::Buffer;
using runtime::ByteStream;
using runtime::Task;

inline Task<Result<std::string>> read_body(BodyReader& reader) {
  std::string body;
  while (true) {
    Result<Buffer> bytes = co_await reader.read();
    if (!bytes) co_return Fail(std::move(bytes.error()));
    if (bytes->empty()) break;
    body += bytes->text();
  }
  const FieldList trailers = reader.take_trailers();
  for (const FieldList::Field& field : trailers.all()) {
    body += " [" + std::string(field.name) + "=" + std::string(field.value) + "]";
  }
  co_return body;
}

// What a test's server says of a request.
inline std::string described(const RequestHead& request) {
  std::string said = std::string(request.method) + " " + std::string(request.authority) +
                     std::string(request.path);
  if (!request.protocol.empty()) said += " <" + std::string(request.protocol) + ">";
  for (const FieldList::Field& field : request.fields.all()) {
    said += " " + std::string(field.name) + "=" + std::string(field.value);
  }
  return said;
}

inline Task<void> echo_upgraded(ServerExchange& exchange) {
  Result<std::unique_ptr<ByteStream>> stream = co_await exchange.upgrade({});
  if (!stream) co_return;
  Result<Buffer> bytes = co_await (*stream)->read();
  if (bytes) static_cast<void>(co_await (*stream)->write(std::move(*bytes)));
  static_cast<void>(co_await (*stream)->shutdown_write());
}

// Says what it was asked. /length: its length first; /none: no body; /early: without reading;
// /upgrade: echoes what comes behind the upgrade.
inline Task<void> answer(runtime::Loop& loop, ServerExchange& exchange) {
  const RequestHead& request = exchange.request();
  if (request.path == "/upgrade") co_return co_await echo_upgraded(exchange);
  std::string said = described(request);
  if (request.path != "/early") {
    Result<std::string> body = co_await read_body(exchange);
    if (!body) co_return;
    said += " {" + *body + "}";
  }
  ResponseHead head;
  if (request.path == "/none") {
    head.status = 204;
    static_cast<void>(co_await exchange.respond(std::move(head), true));
    co_return;
  }
  if (request.path.starts_with("/length") || request.path == "/early") {
    head.fields.add("content-length", std::to_string(said.size()));
  }
  FieldList trailers;
  if (request.path == "/trailers") trailers.add("x-sum", "7");
  static_cast<void>(co_await exchange.respond(std::move(head), false));
  static_cast<void>(co_await exchange.write(loop.buffers().copy_of(said)));
  static_cast<void>(co_await exchange.finish(std::move(trailers)));
}

// Until the connection ends; how many requests it had.
inline Task<int> serve(runtime::Loop& loop, std::unique_ptr<ByteStream> stream,
                       Http1Options options = {}) {
  Http1Server server(loop, std::move(stream), options);
  for (int count = 0;; ++count) {
    const std::unique_ptr<ServerExchange> exchange = co_await server.next();
    if (!exchange) co_return count;
    co_await answer(loop, *exchange);
  }
}

// Sends a text in pieces of so many bytes, then ends; a server that has gone is no error.
inline Task<bool> send_in_pieces(runtime::Loop& loop, ByteStream& stream, std::string text,
                                 size_t piece_bytes) {
  for (size_t at = 0; at < text.size(); at += piece_bytes) {
    Buffer piece = loop.buffers().copy_of(std::string_view(text).substr(at, piece_bytes));
    if (!co_await stream.write(std::move(piece))) co_return false;
    co_await loop.sleep(std::chrono::milliseconds(0));
  }
  co_return (co_await stream.shutdown_write()).has_value();
}

class Http1Test : public ::testing::Test {
 public:
  struct Answered {
    std::string bytes;
    int requests = 0;
  };
  // What comes back for these bytes; the client then ends its side.
  Answered answer_to(std::string bytes, size_t piece_bytes = 1 << 14, Http1Options options = {}) {
    auto [client, server] = runtime::make_memory_pipe();
    auto [requests, exchanged] = weft::testing::run(
        *loop_,
        weft::testing::both(
            serve(*loop_, std::move(server), options),
            weft::testing::both(send_in_pieces(*loop_, *client, std::move(bytes), piece_bytes),
                                weft::testing::read_all(*client))));
    return {exchanged.second.value_or("broken"), requests};
  }

 protected:
  std::unique_ptr<runtime::Loop> loop_ = *runtime::Loop::create_best();
};

}  // namespace weft::http::testing
