#include "ztunnel/hbone/server.h"

#include "ztunnel/hbone/headers.h"
#include "ztunnel/hbone/pool.h"
#include "ztunnel/http/h2_connection.h"
#include "ztunnel/runtime/sync.h"

namespace weft::hbone {
namespace {

using http::H2Connection;
using http::H2Stream;
using http::Header;
using runtime::Task;

constexpr int kOk = 200;
constexpr int kBadRequest = 400;
// A peer that opens streams and resets them leaves their handlers at work (a dial, say): past this
// many it is told to try again.
constexpr size_t kHandlersMax = 2 * kServerStreamsMax;
// A peer that has done its TLS handshake and says nothing. As long as the handshake may take.
constexpr std::chrono::seconds kPrefaceTimeout{10};

http::H2Options server_options() {
  http::H2Options options;
  options.role = http::H2Role::kServer;
  options.limits.streams_max = kServerStreamsMax;
  options.ping_every = Pool::kPingEvery;
  options.ping_timeout = Pool::kPingTimeout;
  options.preface_timeout = kPrefaceTimeout;
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
    CO_TRY(respond(*stream_, kOk, std::move(baggage), false));
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
  Connection(runtime::Loop& loop, std::unique_ptr<tls::TlsStream> transport, Handler handler,
             Complain complain)
      : peer_(transport->peer().identity),
        handler_(std::move(handler)),
        complain_(std::move(complain)),
        connection_(loop, std::move(transport), server_options(),
                    [this](std::unique_ptr<H2Stream> stream) { on_request(std::move(stream)); }) {
    connection_.on_refused_stream([this](const Error& error) { tell(error); });
  }

  Task<void> run() override {
    // Mesh TLS always proves an identity; without one nobody is served.
    if (!peer_) connection_.abort();
    // A peer that merely went away is told of by each stream's own report.
    if (Result<void> ended = co_await connection_.run(); !ended && is_misbehaviour(ended.error())) {
      tell(ended.error());
    }
    co_await handlers_.join();
  }
  void drain() override { connection_.drain(); }
  void abort() override { connection_.abort(); }

 private:
  void on_request(std::unique_ptr<H2Stream> stream) {
    Result<ConnectRequest> request = from_headers(stream->headers());
    if (!request) {
      tell(request.error());
      static_cast<void>(respond(*stream, kBadRequest, {}, true));
      return;
    }
    stream->forget_headers();
    if (!peer_ || handlers_.running() >= kHandlersMax) {
      stream->refuse();
      return;
    }
    auto incoming = std::make_unique<Incoming>(std::move(stream), std::move(*request), *peer_);
    handlers_.spawn(handler_(std::move(incoming)));
  }

  static bool is_misbehaviour(const Error& error) {
    return error.code == Code::kInvalid || error.code == Code::kLimit ||
           error.code == Code::kTimeout;
  }

  void tell(const Error& error) {
    if (complain_ && complaints_ < kComplaintsMax) complain_(error);
    ++complaints_;
  }

  std::optional<SpiffeId> peer_;
  Handler handler_;
  Complain complain_;
  size_t complaints_ = 0;
  runtime::TaskScope handlers_;
  H2Connection connection_;
};

}  // namespace

std::unique_ptr<ServerConnection> ServerConnection::make(runtime::Loop& loop,
                                                         std::unique_ptr<tls::TlsStream> transport,
                                                         Handler handler, Complain complain) {
  return std::make_unique<Connection>(loop, std::move(transport), std::move(handler),
                                      std::move(complain));
}

}  // namespace weft::hbone
