#include "ztunnel/waypoint/proxy.h"

#include "ztunnel/base/check.h"
#include "ztunnel/waypoint/request.h"

#include <utility>

namespace weft::waypoint {

using runtime::Task;

Proxy::Proxy(runtime::Loop& loop, const CurrentConfig& config, Upstreams& upstreams,
             Reporter* reporter)
    : loop_(loop), config_(config), upstreams_(upstreams), reporter_(reporter) {}

Proxy::~Proxy() { CHECK(http1_.empty()); }

void Proxy::drain() {
  draining_ = true;
  for (http::Http1Server* server : std::unordered_set(http1_)) server->drain();
}

Task<void> Proxy::serve(std::unique_ptr<runtime::ByteStream> stream, Arrival arrival) {
  co_await serve_http1(std::move(stream), arrival);
}

Task<void> Proxy::serve_http1(std::unique_ptr<runtime::ByteStream> stream, const Arrival& arrival) {
  http::Http1Options options;
  options.drains = draining_;
  http::Http1Server server(loop_, std::move(stream), options,
                           [this, &arrival](int status, const std::string& reason) {
                             Report report(arrival);
                             report.status = status;
                             report.flag = Flag::kDownstreamProtocol;
                             report.details = reason;
                             report.began = loop_.now();
                             if (reporter_ != nullptr) reporter_->on_request(report);
                           });
  http1_.insert(&server);
  while (const std::unique_ptr<http::ServerExchange> exchange = co_await server.next()) {
    Request request(*this, arrival, *exchange);
    co_await request.handle();
  }
  http1_.erase(&server);
}

}  // namespace weft::waypoint
