#pragma once

#include "ztunnel/base/spiffe_id.h"
#include "ztunnel/hbone/connect.h"
#include "ztunnel/runtime/loop.h"
#include "ztunnel/runtime/stream.h"
#include "ztunnel/tls/tls_stream.h"

#include <functional>
#include <memory>

namespace weft::hbone {

// One CONNECT that a peer asks for. The handler answers it exactly once.
class IncomingConnect {
 public:
  virtual ~IncomingConnect() = default;
  virtual const ConnectRequest& request() const = 0;
  virtual const SpiffeId& peer() const = 0;
  // 200, then the stream's bytes are ours. `baggage` may be empty.
  virtual runtime::Task<Result<std::unique_ptr<runtime::ByteStream>>> accept(
      std::string baggage) = 0;
  // Answers with a status and ends the stream: 400 malformed, 401 policy, 503 cannot reach.
  virtual runtime::Task<void> refuse(int status) = 0;
};

constexpr size_t kServerStreamsMax = 200;  // as ztunnel's server

// One connection on port 15008, after TLS: HTTP/2 until the peer goes or stop is asked for.
// A request that is not CONNECT, or lacks a well-formed :authority, is answered with 400 here.
class ServerConnection {
 public:
  using Handler = std::function<runtime::Task<void>(std::unique_ptr<IncomingConnect>)>;
  // Told, for the log, of what no handler sees: a request that is no CONNECT, HTTP/2 that is none,
  // a peer that floods or says nothing; kComplaintsMax times at most. May not touch the connection.
  using Complain = std::function<void(const Error&)>;
  static constexpr size_t kComplaintsMax = 10;  // a peer that knows no better says it all the time

  static std::unique_ptr<ServerConnection> make(runtime::Loop& loop,
                                                std::unique_ptr<tls::TlsStream> transport,
                                                Handler handler, Complain complain = {});
  virtual ~ServerConnection() = default;
  // Serves until the connection has ended and every handler has returned.
  virtual runtime::Task<void> run() = 0;
  virtual void drain() = 0;  // GOAWAY: no new streams, the present ones go on
  virtual void abort() = 0;
};

}  // namespace weft::hbone
