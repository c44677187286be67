#pragma once

#include "ztunnel/http/exchange.h"
#include "ztunnel/routing/apply.h"
#include "ztunnel/runtime/pause.h"
#include "ztunnel/waypoint/body_pump.h"
#include "ztunnel/waypoint/proxy.h"
#include "ztunnel/waypoint/report.h"
#include "ztunnel/waypoint/retry.h"
#include "ztunnel/waypoint/upstreams.h"

#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace weft::waypoint {

// A request on its way to one destination: tries, their deadlines, the answer. What the route
// changes of the request is done before; what it changes of the answer is done here. Lives in the
// task that handles the request.
class Forwarding {
 public:
  struct Plan {
    const weft::route::Destination* destination = nullptr;
    const routing::Route* route = nullptr;  // null: straight to the service
    const routing::Weighted* weighted = nullptr;
    std::shared_ptr<const Config> config;  // what these are of
    routing::Facts facts;
  };

  Forwarding(Proxy& proxy, const Arrival& arrival, http::ServerExchange& exchange, Report& report,
             Plan plan);

  // Until the response is whole, or cannot be.
  runtime::Task<void> run();

 private:
  using Begun = std::expected<std::unique_ptr<Try>, Failure>;
  // Where a connection is waited for while something else may end the wait.
  struct Beginning {
    weft::route::Destination destination;
    std::shared_ptr<Waiter> waiter = std::make_shared<Waiter>();
    std::optional<Begun> begun;
    runtime::Event done;
  };
  enum class Next : uint8_t { kDone, kAgain, kStale };

  static runtime::Task<void> begin_for(Upstreams& upstreams, std::shared_ptr<Beginning> beginning,
                                       http::Version version, Chooser chooser);
  runtime::Task<Begun> begin();
  runtime::Task<void> tries();
  runtime::Task<Next> try_once(Try& attempt);
  runtime::Task<Result<http::ResponseHead>> ask(Try& attempt);
  runtime::Task<Next> pass(Try& attempt, http::ResponseHead head);
  runtime::Task<Next> without_answer(Try& attempt, Error error);
  runtime::Task<Result<void>> copy_response(http::ClientExchange& upstream,
                                            http::ResponseHead head);
  runtime::Task<void> upgrade(http::ClientExchange& upstream, http::ResponseHead head);

  bool take_retry(const Outcome& outcome);
  void give_retry();
  void prepare_head();
  void watch_client();
  void give_up();
  void plan_mirrors();
  void start_mirrors();

  runtime::Task<void> fail_begin(Failure failure);
  runtime::Task<void> fail_upstream(const Error& error);
  runtime::Task<void> fail_with(int status, Flag flag, std::string body, bool overloaded = false);
  void fail_copy(const Error& error);

  Proxy& proxy_;
  http::ServerExchange& exchange_;
  Report& report_;
  Plan plan_;
  RetryRules rules_;
  Deadlines deadlines_;
  BodyPump pump_;
  runtime::Pause pause_;
  Affinity affinity_;
  std::vector<const weft::route::Mirror*> mirrors_;

  std::shared_ptr<Beginning> beginning_;
  http::ClientExchange* upstream_ = nullptr;  // under way
  std::string endpoint_;
  std::vector<std::string> tried_;
  uint32_t retries_ = 0;
  int stales_ = 0;
  bool holds_retry_ = false;
  Flag given_up_ = Flag::kNone;  // why there was no other try
  bool timed_out_ = false;       // the whole
  bool try_timed_out_ = false;
  bool client_gone_ = false;
};

}  // namespace weft::waypoint
