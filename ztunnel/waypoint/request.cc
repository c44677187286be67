#include "ztunnel/waypoint/request.h"

#include "ztunnel/routing/route.h"
#include "ztunnel/runtime/pause.h"
#include "ztunnel/waypoint/forwarding.h"

#include <utility>

namespace weft::waypoint {

using runtime::Task;

Request::Request(Proxy& proxy, const Arrival& arrival, http::ServerExchange& exchange)
    : proxy_(proxy),
      arrival_(arrival),
      exchange_(exchange),
      config_(proxy.config_),
      report_(arrival) {
  report_.began = proxy.loop_.now();
  report_.request = &exchange.request();
}

Task<void> Request::handle() {
  prepare_head();
  const Service* const service = find_service();
  if (service != nullptr && !service->refused.empty()) {
    LocalReply refusal;
    refusal.status = 403;
    refusal.body = service->refused;
    co_await fail_with(std::move(refusal), Flag::kRefused);
  } else if (const routing::Table* const table = find_table(service); table != nullptr) {
    co_await take_route(*table);
  } else {
    Forwarding::Plan plan;
    plan.destination = &arrival_.straight;
    Forwarding forwarding(proxy_, arrival_, exchange_, report_, std::move(plan));
    co_await forwarding.run();
  }
  report();
}

const Service* Request::find_service() const {
  if (config_ == nullptr) return nullptr;
  const auto found = config_->services.find(arrival_.service);
  return found == config_->services.end() ? nullptr : found->second.get();
}

const routing::Table* Request::find_table(const Service* service) const {
  if (service == nullptr) return nullptr;
  const auto port = service->ports.find(arrival_.port);
  return port == service->ports.end() ? nullptr : port->second.http.get();
}

Task<void> Request::take_route(const routing::Table& table) {
  http::RequestHead& request = exchange_.request();
  const auto refuse = [](int status, std::string body) {
    LocalReply with;
    with.status = status;
    with.body = std::move(body);
    return with;
  };
  const routing::Match match = table.find(request);
  route_ = match.route;
  if (route_ == nullptr) co_return co_await fail_with(refuse(404, ""), Flag::kNoRoute);
  report_.route = match.name;
  know_facts(*route_);
  Result<std::optional<routing::Answer>> answer = routing::answer(match, request);
  if (!answer) co_return co_await fail_with(refuse(500, answer.error().message), Flag::kNone);
  if (*answer) co_return co_await give(**answer);
  if (route_->config->has_fault() && co_await inject(route_->config->fault())) co_return;
  Forwarding::Plan plan;
  plan.weighted = routing::choose(*route_, proxy_.dice_());
  if (plan.weighted == nullptr || plan.weighted->destination->hostname().empty()) {
    co_return co_await fail_with(refuse(500, ""), Flag::kNoCluster);
  }
  Result<void> changed = routing::change_request(match, *plan.weighted, facts_, request);
  if (!changed) co_return co_await fail_with(refuse(500, changed.error().message), Flag::kNone);
  plan.destination = plan.weighted->destination;
  plan.route = route_;
  plan.config = config_;
  plan.facts = facts_;
  Forwarding forwarding(proxy_, arrival_, exchange_, report_, std::move(plan));
  co_await forwarding.run();
}

// Delays first, then aborts: as Istio's faults do. Whether the request is over.
Task<bool> Request::inject(const weft::route::Fault& fault) {
  if (fault.has_delay() && routing::falls(fault.delay().per_million(), proxy_.dice_())) {
    report_.flag = Flag::kDelayInjected;
    if (!co_await delay(std::chrono::milliseconds(fault.delay().delay_ms()))) {
      report_.flag = Flag::kDownstreamGone;
      exchange_.abort();
      co_return true;
    }
  }
  if (!fault.has_abort() || !routing::falls(fault.abort().per_million(), proxy_.dice_())) {
    co_return false;
  }
  LocalReply with;
  with.body = "fault filter abort";
  if (fault.abort().has_grpc_status()) {
    with.status = 200;
    with.grpc_status = static_cast<int>(fault.abort().grpc_status());
  } else {
    with.status = static_cast<int>(fault.abort().http_status());
  }
  co_await fail_with(std::move(with), Flag::kFaultInjected);
  co_return true;
}

// False: the client went meanwhile.
Task<bool> Request::delay(std::chrono::milliseconds time) {
  runtime::Pause pause(proxy_.loop_);
  bool gone = false;
  exchange_.when_gone([&] {
    gone = true;
    pause.wake();
  });
  co_await pause.wait(time);
  exchange_.when_gone({});
  co_return !gone;
}

Task<void> Request::give(routing::Answer& answer) {
  routing::change_response(*route_, nullptr, facts_, exchange_.request(), answer.head);
  report_.status = answer.head.status;
  report_.sent_bytes = answer.body.size();
  if (proxy_.reporter_ != nullptr) proxy_.reporter_->on_answer(report_, answer.head);
  if (!answer.body.empty()) {
    answer.head.fields.set("content-length", std::to_string(answer.body.size()));
  }
  if (!co_await exchange_.respond(std::move(answer.head), answer.body.empty())) co_return;
  std::string_view left = answer.body;
  if (left.empty()) co_return;
  while (!left.empty()) {
    const std::string_view part = left.substr(0, runtime::BufferPool::kBufferBytes);
    left.remove_prefix(part.size());
    if (!co_await exchange_.write(proxy_.loop_.buffers().copy_of(part))) co_return;
  }
  static_cast<void>(co_await exchange_.finish({}));
}

// Only for who has something to say of them.
void Request::know_facts(const routing::Route& route) {
  facts_.route_name = report_.route;
  if (!route.says_facts) return;
  facts_.started = std::chrono::system_clock::now();
  client_ = arrival_.client.to_string();
  facts_.remote_address = client_;
  if (!arrival_.caller) return;
  peer_ = arrival_.caller->to_string();
  facts_.peer = peer_;
}

// What Envoy adds to a request at a waypoint (Istio's defaults there).
void Request::prepare_head() {
  http::RequestHead& head = exchange_.request();
  if (head.fields.find("x-forwarded-proto") == nullptr) {
    head.fields.add_view("x-forwarded-proto", head.scheme);
  }
  if (head.fields.find("x-request-id") == nullptr) {
    head.fields.add("x-request-id", proxy_.request_ids_.next());
  }
  if (proxy_.reporter_ != nullptr) proxy_.reporter_->on_head(report_, head);
}

Task<void> Request::fail_with(LocalReply with, Flag flag) {
  report_.status = with.status;
  report_.flag = flag;
  co_await reply(proxy_.loop_, exchange_, std::move(with));
}

void Request::report() {
  report_.duration = proxy_.loop_.now() - report_.began;
  if (proxy_.reporter_ != nullptr) proxy_.reporter_->on_request(report_);
}

}  // namespace weft::waypoint
