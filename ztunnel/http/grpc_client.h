#pragma once

#include "ztunnel/http/header.h"
#include "ztunnel/runtime/loop.h"
#include "ztunnel/runtime/stream.h"

#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace weft::http {

// A gRPC client on our own loop and HTTP/2, so that no foreign thread lives in the data plane. One
// channel is one connection; it is not re-dialled: when it fails, its owner makes another (and
// decides the back-off).
class GrpcStream;

class GrpcChannel {
 public:
  // 200 MiB: a full mesh in one xDS response (ztunnel's own limit).
  static constexpr size_t kMessageBytesMax = 200U * 1024 * 1024;

  // Speaks HTTP/2 on `transport` (plain or TLS), sends a PING every 30 s and breaks after 10 s
  // without an answer. `authority` goes into :authority.
  static runtime::Task<Result<std::unique_ptr<GrpcChannel>>> open(
      runtime::Loop& loop, std::unique_ptr<runtime::ByteStream> transport, std::string authority);
  virtual ~GrpcChannel() = default;

  // A whole unary call: one serialized message there, one back. A grpc-status other than 0 becomes
  // an Error whose message is grpc-message.
  virtual runtime::Task<Result<std::string>> call(std::string path, std::vector<Header> metadata,
                                                  std::string request,
                                                  std::chrono::milliseconds timeout) = 0;
  // A stream of messages both ways.
  virtual runtime::Task<Result<std::unique_ptr<GrpcStream>>> open_stream(
      std::string path, std::vector<Header> metadata) = 0;
  // Breaks everything at once.
  virtual void abort() = 0;
  // Ends in good order; must have completed before the channel is destroyed.
  virtual runtime::Task<void> close() = 0;
};

class GrpcStream {
 public:
  virtual ~GrpcStream() = default;
  virtual runtime::Task<Result<void>> send(std::string message) = 0;
  // The next message; kClosed when the server ended with status 0, the status's error otherwise.
  virtual runtime::Task<Result<std::string>> receive() = 0;
  virtual void abort() = 0;
};

}  // namespace weft::http
