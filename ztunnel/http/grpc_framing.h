#pragma once

#include "ztunnel/base/result.h"
#include "ztunnel/http/header.h"

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

// gRPC's length-prefixed messages and its status, without I/O (gRPC's PROTOCOL-HTTP2 document).

namespace weft::http {

// What stands before a message: not compressed, length in network order. At most 2^32 - 1 bytes.
std::string message_prefix(size_t message_bytes);

// The value of grpc-timeout.
std::string timeout_header(std::chrono::milliseconds timeout);

// Cuts a stream of bytes into messages. Holds one fed piece and the message in the making.
class MessageReader {
 public:
  explicit MessageReader(size_t message_bytes_max) : message_bytes_max_(message_bytes_max) {}
  // The next bytes, once next() has said that it needs more.
  void feed(std::string_view bytes);
  // The next whole message; nothing: more bytes are needed. kLimit where one is too long,
  // kUnsupported where it is compressed (nothing was offered). An error is for good.
  Result<std::optional<std::string>> next();
  bool is_between_messages() const { return prefix_.empty() && unread().empty(); }

 private:
  std::string_view unread() const { return std::string_view(fed_).substr(taken_); }
  std::string_view take(size_t bytes_max);
  Result<size_t> parse_prefix() const;

  size_t message_bytes_max_;
  std::string fed_;
  size_t taken_ = 0;  // of it
  std::string prefix_;
  size_t left_ = 0;  // of the message, once the prefix is whole
  std::string message_;
};

// Whether a response carries gRPC at all: status 200 and content-type application/grpc. What a
// proxy or another server says is mapped as gRPC's http-grpc-status-mapping document asks.
Result<void> check_response(const std::vector<Header>& headers);

// What grpc-status and grpc-message say, in trailers or (trailers-only) in the only headers.
// Nothing for status 0. Where there is no status at all: kReset.
std::optional<Error> status_error(const std::vector<Header>& headers,
                                  const std::vector<Header>& trailers);

}  // namespace weft::http
