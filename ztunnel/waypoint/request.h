#pragma once

#include "ztunnel/http/exchange.h"
#include "ztunnel/routing/apply.h"
#include "ztunnel/waypoint/local_reply.h"
#include "ztunnel/waypoint/proxy.h"
#include "ztunnel/waypoint/report.h"

#include <chrono>
#include <memory>
#include <optional>
#include <string>

namespace weft::waypoint {

// One request on its way: route, tries, answer, report. Lives in the task that handles it.
class Request {
 public:
  Request(Proxy& proxy, const Arrival& arrival, http::ServerExchange& exchange);

  // Until the response is whole, or cannot be.
  runtime::Task<void> handle();

 private:
  const Service* find_service() const;
  const routing::Table* find_table(const Service* service) const;
  runtime::Task<void> take_route(const routing::Table& table);
  runtime::Task<void> give(routing::Answer& answer);
  routing::Facts facts() const;
  runtime::Task<void> forward(const weft::route::Destination& destination);
  runtime::Task<void> try_once(Try& attempt);
  runtime::Task<void> copy_request(http::ClientExchange& upstream);
  runtime::Task<Result<void>> send_ready(http::ClientExchange& upstream);
  runtime::Task<Result<void>> copy_response(http::ClientExchange& upstream,
                                            http::ResponseHead head);
  runtime::Task<void> upgrade(http::ClientExchange& upstream, http::ResponseHead head);
  runtime::Task<void> fail_with(int status, Flag flag, std::string body, bool overloaded = false);
  runtime::Task<void> fail_upstream(const Error& error);
  void fail_copy(const Error& error);
  void prepare_head();
  void report();

  Proxy& proxy_;
  const Arrival& arrival_;
  http::ServerExchange& exchange_;
  std::shared_ptr<const Config> config_;  // that it began with
  Report report_;
  std::string endpoint_;
  const routing::Route* route_ = nullptr;  // of config_; null: straight to the service
  const routing::Weighted* weighted_ = nullptr;
  http::ClientExchange* upstream_ = nullptr;  // under way
  bool timed_out_ = false;
  bool client_gone_ = false;
  std::string malformed_;  // what is wrong with the request's body
  // Whether the try under way may be followed by another one that nobody asked for.
  struct Resend {
    bool any = false;         // where the server did nothing with the request
    bool idempotent = false;  // where its connection, an old one, ended
  };
  Resend resend_;
  bool stale_ = false;  // the try met a connection that had just ended: another one may serve
};

}  // namespace weft::waypoint
