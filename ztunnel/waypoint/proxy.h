#pragma once

#include "ztunnel/http/h2_accept.h"
#include "ztunnel/http/http1_accept.h"
#include "ztunnel/runtime/loop.h"
#include "ztunnel/runtime/stream.h"
#include "ztunnel/waypoint/body_pump.h"
#include "ztunnel/waypoint/config.h"
#include "ztunnel/waypoint/report.h"
#include "ztunnel/waypoint/request_ids.h"
#include "ztunnel/waypoint/upstreams.h"

#include <memory>
#include <random>
#include <unordered_set>

namespace weft::waypoint {

// One worker's HTTP proxy: serves connections to the services behind this waypoint. Each request is
// routed by the configuration that is there when it comes, and finishes with it.
class Proxy {
 public:
  using CurrentConfig = std::shared_ptr<const Config>;

  // `config` is the worker's own, which it replaces as control speaks; null: nothing was said yet.
  // `reporter` may be null.
  Proxy(runtime::Loop& loop, const CurrentConfig& config, Upstreams& upstreams, Reporter* reporter);
  ~Proxy();  // every serve() must have returned

  // Until the connection has ended.
  runtime::Task<void> serve(std::unique_ptr<runtime::ByteStream> stream, Arrival arrival);
  // Requests under way are finished, then their connections end: Connection: close, GOAWAY.
  void drain();
  size_t connections() const { return opening_.size() + http1_.size() + http2_.size(); }

 private:
  friend class Request;
  friend class Forwarding;
  runtime::Task<void> serve_http1(std::unique_ptr<runtime::ByteStream> stream,
                                  const Arrival& arrival);
  runtime::Task<void> serve_http2(std::unique_ptr<runtime::ByteStream> stream,
                                  const Arrival& arrival);
  runtime::Task<void> handle(std::unique_ptr<http::ServerExchange> exchange,
                             const Arrival& arrival);
  void refused(const Arrival& arrival, int status, const std::string& reason);

  runtime::Loop& loop_;
  const CurrentConfig& config_;
  Upstreams& upstreams_;
  Reporter* reporter_;
  RequestIds request_ids_;
  std::mt19937_64 dice_{std::random_device{}()};
  KeptBudget kept_;
  std::shared_ptr<size_t> mirrors_ = std::make_shared<size_t>(0);  // under way
  std::unordered_set<runtime::ByteStream*> opening_;               // have not said anything yet
  std::unordered_set<http::Http1Server*> http1_;
  std::unordered_set<http::Http2Server*> http2_;
  bool draining_ = false;
};

}  // namespace weft::waypoint
