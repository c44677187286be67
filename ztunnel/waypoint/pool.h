#pragma once

#include "ztunnel/http/h2_ask.h"
#include "ztunnel/http/http1_ask.h"
#include "ztunnel/http/lazy_deadline.h"
#include "ztunnel/runtime/loop.h"
#include "ztunnel/runtime/sync.h"
#include "ztunnel/waypoint/network.h"
#include "ztunnel/waypoint/shared.h"
#include "ztunnel/waypoint/upstreams.h"

#include <chrono>
#include <memory>
#include <optional>
#include <vector>

namespace weft::waypoint {

// One worker's connections to one endpoint. Shared by those who hold a connection of it, so that
// an endpoint may go while its last answers come.
class Pool : public std::enable_shared_from_this<Pool> {
 public:
  // Idle HTTP/1.1 connections that are kept; a wave's rest is closed.
  static constexpr size_t kIdleMax = 1024;

  // `since`: when the endpoint became known.
  Pool(runtime::Loop& loop, Network& network, std::shared_ptr<SharedDestination> shared, Host host,
       Clock::time_point since);

  const Host& host() const { return host_; }
  Clock::time_point since() const { return since_; }
  const std::shared_ptr<EndpointHealth>& health() const { return health_; }
  const size_t& active() const { return active_; }  // exchanges under way
  // A free connection, else a new one; where the policy lets there be no more of them, it waits for
  // one to be free. Requests that come while an HTTP/2 connection is being made wait for it, as far
  // as it will carry them.
  runtime::Task<std::expected<std::unique_ptr<Try>, Failure>> begin(
      http::Version version, std::shared_ptr<const weft::route::Traffic> traffic,
      std::shared_ptr<Waiter> waiter);
  // Closes what is idle.
  void clear();

 private:
  // A connection and what it counts as.
  struct Http1 {
    std::unique_ptr<http::Http1Client> client;
    Share share;
    Clock::time_point made;
  };
  struct Idle {
    Http1 connection;
    Clock::time_point since;
  };
  struct Http2 {
    std::shared_ptr<http::Http2Client> client;
    Share share;
    Clock::time_point made;
    uint64_t begun = 0;  // exchanges
  };
  class Http1Try;
  friend class Http1Try;
  class Http2Try;
  friend class Http2Try;
  using Begun = std::expected<std::unique_ptr<Try>, Failure>;
  using Stream = std::expected<std::unique_ptr<runtime::ByteStream>, Failure>;

  using Policy = std::shared_ptr<const weft::route::Traffic>;

  runtime::Task<Stream> connect(const weft::route::Traffic& traffic);
  runtime::Task<Begun> begin_http1(Policy policy, std::shared_ptr<Waiter> waiter, Share counted);
  runtime::Task<Begun> begin_http2(Policy policy, std::shared_ptr<Waiter> waiter, Share counted);
  Share take_connection(const weft::route::Limits& limits);
  runtime::Task<std::optional<Failure>> wait_for_room(const weft::route::Limits& limits,
                                                      std::shared_ptr<Waiter> waiter);
  void made_room();
  void count(Went how, int status);
  bool is_worn(Clock::time_point made, uint64_t exchanges) const;
  std::shared_ptr<Http2> start_http2(std::unique_ptr<runtime::ByteStream> stream, Share share);
  std::shared_ptr<Http2> free_http2();
  void ended(size_t connections);

  std::optional<Http1> take_idle();
  void give_back(Http1 connection);
  void drop(const http::Http1Client* client);
  void drop_old();

  runtime::Loop& loop_;
  Network& network_;
  const std::shared_ptr<SharedDestination> shared_;
  Host host_;
  const Clock::time_point since_;
  const std::shared_ptr<EndpointHealth> health_;
  std::vector<Idle> idle_;  // the last one used at the end
  std::vector<std::shared_ptr<Http2>> http2_;
  size_t http2_waiting_ = 0;  // requests, for the connection that is being made
  bool http2_opening_ = false;
  runtime::Event http2_opened_;
  size_t connections_ = 0;  // of either version, also those that are being made
  size_t waiting_ = 0;      // for room among them
  runtime::Event room_;
  uint64_t exchanges_max_ = 0;  // of a connection, as the policy last said; 0: any
  std::chrono::milliseconds age_max_{0};
  uint64_t streams_max_ = 0;
  std::chrono::milliseconds idle_timeout_;
  http::LazyDeadline sweep_;
  size_t active_ = 0;
};

}  // namespace weft::waypoint
