#include "ztunnel/http/http1_io.h"
#include "ztunnel/http/http1_parser.h"
#include "ztunnel/http/http1_server.h"

namespace weft::http {
namespace {

using runtime::Buffer;
using runtime::ByteStream;
using runtime::Task;

// The whole exchange: our servers answer from memory.
constexpr std::chrono::seconds kFetchTimeout{30};

Fail malformed(http1::Refusal refusal) {
  return fail(Code::kInvalid, "HTTP response: " + std::move(refusal.reason));
}

// Whether a text may stand in a request line: nothing that could begin another line or field.
bool is_printable(std::string_view text) {
  if (text.empty()) return false;
  for (const char c : text) {
    if (c <= 0x20 || c >= 0x7f) return false;
  }
  return true;
}

Task<Result<Response>> receive(ByteStream& connection, bool to_head) {
  http1::ResponseParser parser(to_head);
  while (true) {
    const Buffer bytes = CO_TRY(co_await connection.read());
    if (bytes.empty()) {
      http1::Parsed<Response> response = parser.end();
      if (!response) co_return fail(Code::kClosed, "HTTP response: " + response.error().reason);
      co_return *std::move(response);
    }
    parser.feed(bytes.text());
    http1::Parsed<std::optional<Response>> response = parser.next();
    if (!response) co_return malformed(std::move(response.error()));
    if (*response) co_return std::move(**response);
  }
}

}  // namespace

Task<Result<Response>> fetch_http1(runtime::Loop& loop, std::unique_ptr<ByteStream> connection,
                                   std::string method, std::string target, std::string body) {
  if (!is_printable(method) || !is_printable(target)) {
    co_return fail(Code::kInvalid, "HTTP request: method and target must be printable words");
  }
  std::string request = method + " " + target + " HTTP/1.1\r\nHost: localhost\r\n";
  if (!body.empty() || method == "POST" || method == "PUT") {
    request += "Content-Length: " + std::to_string(body.size()) + "\r\n";
  }
  request += "Connection: close\r\n\r\n" + body;
  const runtime::Deadline deadline(loop, kFetchTimeout, [&connection] { connection->abort(); });
  const Result<void> sent = co_await http1::send_text(loop, *connection, std::move(request));
  // A server that refuses a request may do so before it has read all of it.
  Result<Response> response = co_await receive(*connection, method == "HEAD");
  if (response) co_return response;
  if (deadline.expired()) {
    co_return fail(Code::kTimeout, "HTTP: no whole answer to " + method + " " + target +
                                       " within " + std::to_string(kFetchTimeout.count()) + " s");
  }
  if (!sent) co_return Fail(Error(sent.error()).in("sending " + method + " " + target));
  co_return Fail(std::move(response.error()).in(method + " " + target));
}

}  // namespace weft::http
