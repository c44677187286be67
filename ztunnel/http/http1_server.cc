#include "ztunnel/http/http1_server.h"

#include "ztunnel/http/http1_io.h"
#include "ztunnel/http/http1_parser.h"
#include "ztunnel/http/reason.h"

#include <algorithm>

namespace weft::http {
namespace {

using runtime::Buffer;
using runtime::ByteStream;
using runtime::Task;

// Until a whole request is there, and until a client has taken its answer.
constexpr std::chrono::seconds kRequestTimeout{60};
constexpr std::chrono::seconds kResponseTimeout{60};
// After the last answer: how long and how much is still read, so that a client which is still
// sending gets the answer rather than a reset.
constexpr std::chrono::seconds kLingerTimeout{1};
constexpr size_t kLingerBytesMax = 256 * 1024;

std::string write_out(const Response& response, bool to_head, bool keep_alive) {
  std::string text = "HTTP/1.1 " + std::to_string(response.status) + " ";
  text += reason_of(response.status);
  text += "\r\nContent-Type: " + response.content_type;
  // A 204 has neither a body nor a length (RFC 9110 section 8.6).
  if (response.status != 204) {
    text += "\r\nContent-Length: " + std::to_string(response.body.size());
  }
  text += keep_alive ? "\r\n\r\n" : "\r\nConnection: close\r\n\r\n";
  if (!to_head && response.status != 204) text += response.body;
  return text;
}

Task<Result<void>> respond(runtime::Loop& loop, ByteStream& connection, std::string text) {
  const runtime::Deadline deadline(loop, kResponseTimeout, [&connection] { connection.abort(); });
  co_return co_await http1::send_text(loop, connection, std::move(text));
}

Task<void> linger(runtime::Loop& loop, ByteStream& connection) {
  const runtime::Deadline deadline(loop, kLingerTimeout, [&connection] { connection.abort(); });
  if (!co_await connection.shutdown_write()) co_return;
  size_t left = kLingerBytesMax;
  while (left > 0) {
    const Result<Buffer> bytes = co_await connection.read();
    if (!bytes || bytes->empty()) co_return;
    left -= std::min(left, bytes->size());
  }
}

// What a connection says next: a request, the reason why it is not understood, or nothing more.
struct Incoming {
  std::optional<http1::IncomingRequest> request;
  std::optional<http1::Refusal> refusal;
};

Task<Incoming> next_request(runtime::Loop& loop, ByteStream& connection,
                            http1::RequestParser& parser) {
  const runtime::Deadline deadline(loop, kRequestTimeout, [&connection] { connection.abort(); });
  Incoming incoming;
  while (true) {
    http1::Parsed<std::optional<http1::IncomingRequest>> parsed = parser.next();
    if (!parsed) {
      incoming.refusal = std::move(parsed.error());
      co_return incoming;
    }
    if (*parsed) {
      incoming.request = std::move(*parsed);
      co_return incoming;
    }
    if (parser.take_continue()) {
      const Result<void> sent =
          co_await http1::send_text(loop, connection, "HTTP/1.1 100 Continue\r\n\r\n");
      if (!sent) co_return incoming;
    }
    const Result<Buffer> bytes = co_await connection.read();
    if (!bytes || bytes->empty()) co_return incoming;
    parser.feed(bytes->text());
  }
}

}  // namespace

Task<void> serve_http1(runtime::Loop& loop, std::unique_ptr<ByteStream> connection,
                       const Handler& handler) {
  http1::RequestParser parser;
  while (true) {
    Incoming incoming = co_await next_request(loop, *connection, parser);
    if (incoming.refusal) {
      Response refusal;
      refusal.status = incoming.refusal->status;
      refusal.body = incoming.refusal->reason + "\n";
      const Result<void> sent =
          co_await respond(loop, *connection, write_out(refusal, false, false));
      if (sent) co_await linger(loop, *connection);
      co_return;
    }
    if (!incoming.request) co_return;
    const bool to_head = incoming.request->request.method == "HEAD";
    const bool keep_alive = incoming.request->keep_alive;
    const Response response = co_await handler(std::move(incoming.request->request));
    const Result<void> sent =
        co_await respond(loop, *connection, write_out(response, to_head, keep_alive));
    if (!sent) co_return;
    if (!keep_alive) {
      co_await linger(loop, *connection);
      co_return;
    }
  }
}

}  // namespace weft::http
