#pragma once

#include "ztunnel/http/exchange.h"
#include "ztunnel/http/h2_connection.h"

#include <functional>
#include <memory>

namespace weft::http {

// The server's side of an HTTP/2 connection (RFC 9113): its requests, as many at a time as
// H2Limits::streams_max.
class Http2Server {
 public:
  // The handler's from then on; it may outlive the connection.
  using OnExchange = std::function<void(std::unique_ptr<ServerExchange>)>;
  // Told of a request that is answered here because no route could be asked for it.
  using OnRefused = std::function<void(int status, const std::string& reason)>;

  Http2Server(runtime::Loop& loop, std::unique_ptr<runtime::ByteStream> transport,
              OnExchange on_exchange, OnRefused on_refused = {});

  // Until the connection has ended; why, where it broke.
  runtime::Task<Result<void>> run() { return connection_.run(); }
  void drain() { connection_.drain(); }  // GOAWAY; ends when the present requests have
  void abort() { connection_.abort(); }

 private:
  void accept(std::unique_ptr<H2Stream> stream);

  OnExchange on_exchange_;
  OnRefused on_refused_;
  H2Connection connection_;
};

}  // namespace weft::http
