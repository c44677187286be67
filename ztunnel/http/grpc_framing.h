#pragma once

#include "ztunnel/base/result.h"
#include "ztunnel/http/header.h"

#include <optional>
#include <string>
#include <string_view>
#include <vector>

// gRPC's length-prefixed messages and its status, without I/O
// (grpc.io: "gRPC over HTTP2", PROTOCOL-HTTP2).

namespace weft::http {

// A message behind its five bytes of header: not compressed, length in network order.
std::string frame_message(std::string_view message);

// Cuts a stream of bytes into messages.
class MessageReader {
 public:
  explicit MessageReader(size_t message_bytes_max) : message_bytes_max_(message_bytes_max) {}
  void feed(std::string_view bytes);
  // The next whole message; nothing: more bytes are needed. kLimit where one is too long,
  // kUnsupported where it is compressed (nothing was offered).
  Result<std::optional<std::string>> next();
  bool is_between_messages() const { return pending_.size() == taken_; }

 private:
  size_t message_bytes_max_;
  std::string pending_;
  size_t taken_ = 0;
};

// What grpc-status and grpc-message say, in trailers or (trailers-only) in the only headers.
// Nothing for status 0. Where there is no status at all: kReset.
std::optional<Error> status_error(const std::vector<Header>& headers,
                                  const std::vector<Header>& trailers);

}  // namespace weft::http
