#pragma once

#include "ztunnel/http/h2_ask.h"
#include "ztunnel/http/http1_ask.h"
#include "ztunnel/http/lazy_deadline.h"
#include "ztunnel/runtime/loop.h"
#include "ztunnel/runtime/sync.h"
#include "ztunnel/waypoint/network.h"
#include "ztunnel/waypoint/upstreams.h"

#include <chrono>
#include <memory>
#include <vector>

namespace weft::waypoint {

// One worker's connections to one endpoint. Shared by those who hold a connection of it, so that
// an endpoint may go while its last answers come.
class Pool : public std::enable_shared_from_this<Pool> {
 public:
  // Idle HTTP/1.1 connections that are kept; a wave's rest is closed.
  static constexpr size_t kIdleMax = 1024;

  Pool(runtime::Loop& loop, Network& network, Host host);

  const Host& host() const { return host_; }
  size_t active() const { return active_; }  // exchanges under way
  // A free connection, else a new one. `traffic` must stay until it returns. Requests that come
  // while an HTTP/2 connection is being made wait for it, as far as it will carry them.
  runtime::Task<std::expected<std::unique_ptr<Try>, Failure>> begin(
      http::Version version, const weft::route::Traffic& traffic);
  // Closes what is idle.
  void clear();

 private:
  struct Idle {
    std::unique_ptr<http::Http1Client> client;
    std::chrono::steady_clock::time_point since;
  };
  class Http1Try;
  friend class Http1Try;
  class Http2Try;
  friend class Http2Try;
  using Begun = std::expected<std::unique_ptr<Try>, Failure>;
  using Stream = std::expected<std::unique_ptr<runtime::ByteStream>, Failure>;

  runtime::Task<Stream> connect(const weft::route::Traffic& traffic);
  runtime::Task<Begun> begin_http1(const weft::route::Traffic& traffic);
  runtime::Task<Begun> begin_http2(const weft::route::Traffic& traffic);
  std::shared_ptr<http::Http2Client> free_http2() const;

  std::unique_ptr<http::Http1Client> take_idle();
  void give_back(std::unique_ptr<http::Http1Client> client);
  void drop(const http::Http1Client* client);
  void drop_old();

  runtime::Loop& loop_;
  Network& network_;
  Host host_;
  std::vector<Idle> idle_;  // the last one used at the end
  std::vector<std::shared_ptr<http::Http2Client>> http2_;
  size_t http2_waiting_ = 0;  // requests, for the connection that is being made
  bool http2_opening_ = false;
  runtime::Event http2_opened_;
  std::chrono::milliseconds idle_timeout_;
  http::LazyDeadline sweep_;
  size_t active_ = 0;
};

}  // namespace weft::waypoint
