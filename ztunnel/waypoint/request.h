#pragma once

#include "ztunnel/http/exchange.h"
#include "ztunnel/routing/apply.h"
#include "ztunnel/waypoint/local_reply.h"
#include "ztunnel/waypoint/proxy.h"
#include "ztunnel/waypoint/report.h"

#include <memory>
#include <string>

namespace weft::waypoint {

// One request: its route, faults, an answer of the proxy's own or the way to a destination
// (forwarding.h), its report. Lives in the task that handles it.
class Request {
 public:
  Request(Proxy& proxy, const Arrival& arrival, http::ServerExchange& exchange);

  // Until the response is whole, or cannot be.
  runtime::Task<void> handle();

 private:
  const Service* find_service() const;
  const routing::Table* find_table(const Service* service) const;
  runtime::Task<void> take_route(const routing::Table& table);
  runtime::Task<bool> inject(const weft::route::Fault& fault);
  runtime::Task<bool> delay(std::chrono::milliseconds time);
  runtime::Task<void> give(routing::Answer& answer);
  void know_facts(const routing::Route& route);
  runtime::Task<void> fail_with(LocalReply with, Flag flag);
  void prepare_head();
  void report();

  Proxy& proxy_;
  const Arrival& arrival_;
  http::ServerExchange& exchange_;
  std::shared_ptr<const Config> config_;  // that it began with
  Report report_;
  routing::Facts facts_;
  std::string client_;  // what facts_ look at
  std::string peer_;
  const routing::Route* route_ = nullptr;  // of config_; null: straight to the service
};

}  // namespace weft::waypoint
