#include "ztunnel/hbone/server.h"

#include "ztunnel/hbone/authority.h"
#include "ztunnel/hbone/pool.h"
#include "ztunnel/http/h2_connection.h"
#include "ztunnel/runtime/sync.h"

namespace weft::hbone {
namespace {

using http::H2Connection;
using http::H2Stream;
using http::Header;
using runtime::Task;

constexpr int kBadRequest = 400;

http::H2Options server_options() {
  http::H2Options options;
  options.role = http::H2Role::kServer;
  options.limits.streams_max = kServerStreamsMax;
  options.ping_every = Pool::kPingEvery;
  options.ping_timeout = Pool::kPingTimeout;
  return options;
}

Result<void> respond(H2Stream& stream, int status, std::string baggage, bool end) {
  std::vector<Header> headers{{":status", std::to_string(status)}};
  if (!baggage.empty()) headers.push_back({"baggage", std::move(baggage)});
  return stream.respond(headers, end);
}

class Incoming final : public IncomingConnect {
 public:
  Incoming(std::unique_ptr<H2Stream> stream, ConnectRequest request, const SpiffeId& peer)
      : stream_(std::move(stream)), request_(std::move(request)), peer_(peer) {}

  const ConnectRequest& request() const override { return request_; }
  const SpiffeId& peer() const override { return peer_; }

  Task<Result<std::unique_ptr<runtime::ByteStream>>> accept(std::string baggage) override {
    CO_TRY(respond(*stream_, 200, std::move(baggage), false));
    co_return std::unique_ptr<runtime::ByteStream>(std::move(stream_));
  }

  Task<void> refuse(int status) override {
    // A stream that is gone already needs no answer.
    static_cast<void>(respond(*stream_, status, {}, true));
    stream_.reset();
    co_return;
  }

 private:
  std::unique_ptr<H2Stream> stream_;
  ConnectRequest request_;
  SpiffeId peer_;
};

class Connection final : public ServerConnection {
 public:
  Connection(runtime::Loop& loop, std::unique_ptr<tls::TlsStream> transport, Handler handler)
      : peer_(transport->peer().identity.value_or(SpiffeId{})),
        handler_(std::move(handler)),
        connection_(loop, std::move(transport), server_options(),
                    [this](std::unique_ptr<H2Stream> stream) { on_request(std::move(stream)); }) {}

  Task<void> run() override {
    // Why it ended is told by each stream's own report; one without streams has nothing to tell.
    static_cast<void>(co_await connection_.run());
    co_await handlers_.join();
  }
  void drain() override { connection_.drain(); }
  void abort() override { connection_.abort(); }

 private:
  void on_request(std::unique_ptr<H2Stream> stream) {
    const std::vector<Header>& headers = stream->headers();
    const std::string_view authority = http::find_header(headers, ":authority");
    const bool is_connect = http::find_header(headers, ":method") == "CONNECT";
    if (!is_connect || !check_authority(authority)) {
      static_cast<void>(respond(*stream, kBadRequest, {}, true));
      return;
    }
    ConnectRequest request;
    request.authority = authority;
    request.baggage = http::find_header(headers, "baggage");
    request.forwarded = http::find_header(headers, "forwarded");
    request.traceparent = http::find_header(headers, "traceparent");
    handlers_.spawn(
        handler_(std::make_unique<Incoming>(std::move(stream), std::move(request), peer_)));
  }

  SpiffeId peer_;
  Handler handler_;
  runtime::TaskScope handlers_;
  H2Connection connection_;
};

}  // namespace

std::unique_ptr<ServerConnection> ServerConnection::make(runtime::Loop& loop,
                                                         std::unique_ptr<tls::TlsStream> transport,
                                                         Handler handler) {
  return std::make_unique<Connection>(loop, std::move(transport), std::move(handler));
}

}  // namespace weft::hbone
