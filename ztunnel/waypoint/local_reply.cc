#include "ztunnel/waypoint/local_reply.h"

#include <utility>

namespace weft::waypoint {

using runtime::Task;

namespace {

// gRPC's percent encoding of grpc-message.
std::string percent_encoded(std::string_view text) {
  constexpr std::string_view kDigits = "0123456789ABCDEF";
  std::string encoded;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte < 0x7f && c != '%') {
      encoded += c;
      continue;
    }
    encoded += '%';
    encoded += kDigits[byte >> 4U];
    encoded += kDigits[byte & 15U];
  }
  return encoded;
}

}  // namespace

int grpc_status_of(int http_status) {
  switch (http_status) {
    case 400:
      return 13;
    case 401:
      return 16;
    case 403:
      return 7;
    case 404:
      return 12;
    case 429:
    case 502:
    case 503:
    case 504:
      return 14;
    default:
      return 2;
  }
}

bool is_grpc(const http::RequestHead& request) {
  constexpr std::string_view kType = "application/grpc";
  const std::string_view type = request.fields.get("content-type");
  return type.starts_with(kType) &&
         (type.size() == kType.size() || type[kType.size()] == '+' || type[kType.size()] == ';');
}

Task<void> reply(runtime::Loop& loop, http::ServerExchange& exchange, LocalReply with) {
  if (exchange.has_responded()) co_return exchange.abort();
  http::ResponseHead head;
  if (with.overloaded) head.fields.add("x-envoy-overloaded", "true");
  if (with.grpc_status || is_grpc(exchange.request())) {
    head.fields.add("content-type", "application/grpc");
    head.fields.add("grpc-status",
                    std::to_string(with.grpc_status.value_or(grpc_status_of(with.status))));
    if (!with.body.empty()) head.fields.add("grpc-message", percent_encoded(with.body));
    static_cast<void>(co_await exchange.respond(std::move(head), true));
    co_return;
  }
  head.status = with.status;
  head.fields.add("content-length", std::to_string(with.body.size()));
  if (!with.body.empty()) head.fields.add("content-type", "text/plain");
  if (!co_await exchange.respond(std::move(head), with.body.empty())) co_return;
  if (with.body.empty()) co_return;
  if (!co_await exchange.write(loop.buffers().copy_of(with.body))) co_return;
  static_cast<void>(co_await exchange.finish({}));
}

}  // namespace weft::waypoint
