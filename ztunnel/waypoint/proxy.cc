#include "ztunnel/waypoint/proxy.h"

#include "ztunnel/base/check.h"
#include "ztunnel/runtime/sync.h"
#include "ztunnel/waypoint/peek.h"
#include "ztunnel/waypoint/request.h"

#include <utility>

namespace weft::waypoint {

using runtime::Task;

namespace {

// Until a new connection's first bytes: as long as one may idle between two requests.
constexpr std::chrono::hours kOpeningTimeout{1};

}  // namespace

Proxy::Proxy(runtime::Loop& loop, const CurrentConfig& config, Upstreams& upstreams,
             Reporter* reporter)
    : loop_(loop), config_(config), upstreams_(upstreams), reporter_(reporter) {}

Proxy::~Proxy() { CHECK(connections() == 0); }

void Proxy::drain() {
  draining_ = true;
  for (runtime::ByteStream* stream : opening_) stream->abort();
  for (http::Http1Server* server : std::unordered_set(http1_)) server->drain();
  for (http::Http2Server* server : http2_) server->drain();
}

Task<void> Proxy::serve(std::unique_ptr<runtime::ByteStream> stream, Arrival arrival) {
  auto peeked = std::make_unique<Peeked>(std::move(stream));
  opening_.insert(peeked.get());
  const Result<Spoken> spoken = co_await peek_http(loop_, *peeked, kOpeningTimeout);
  opening_.erase(peeked.get());
  if (!spoken) co_return;
  if (*spoken == Spoken::kHttp2) {
    co_await serve_http2(std::move(peeked), arrival);
  } else {
    co_await serve_http1(std::move(peeked), arrival);
  }
}

Task<void> Proxy::serve_http1(std::unique_ptr<runtime::ByteStream> stream, const Arrival& arrival) {
  http::Http1Options options;
  options.drains = draining_;
  http::Http1Server server(loop_, std::move(stream), options,
                           [this, &arrival](int status, const std::string& reason) {
                             refused(arrival, status, reason);
                           });
  http1_.insert(&server);
  while (const std::unique_ptr<http::ServerExchange> exchange = co_await server.next()) {
    Request request(*this, arrival, *exchange);
    co_await request.handle();
  }
  http1_.erase(&server);
}

Task<void> Proxy::serve_http2(std::unique_ptr<runtime::ByteStream> stream, const Arrival& arrival) {
  runtime::TaskScope requests;
  http::Http2Server server(
      loop_, std::move(stream),
      [this, &arrival, &requests](std::unique_ptr<http::ServerExchange> exchange) {
        requests.spawn(handle(std::move(exchange), arrival));
      },
      [this, &arrival](int status, const std::string& reason) {
        refused(arrival, status, reason);
      });
  http2_.insert(&server);
  if (draining_) server.drain();
  static_cast<void>(co_await server.run());
  http2_.erase(&server);
  co_await requests.join();
}

Task<void> Proxy::handle(std::unique_ptr<http::ServerExchange> exchange, const Arrival& arrival) {
  Request request(*this, arrival, *exchange);
  co_await request.handle();
}

void Proxy::refused(const Arrival& arrival, int status, const std::string& reason) {
  if (reporter_ == nullptr) return;
  Report report(arrival);
  report.status = status;
  report.flag = Flag::kDownstreamProtocol;
  report.details = reason;
  report.began = loop_.now();
  reporter_->on_request(report);
}

}  // namespace weft::waypoint
