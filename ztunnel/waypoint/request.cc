#include "ztunnel/waypoint/request.h"

#include "ztunnel/role/relay.h"
#include "ztunnel/routing/route.h"
#include "ztunnel/runtime/sync.h"

#include <array>
#include <charconv>
#include <utility>

namespace weft::waypoint {

using runtime::Buffer;
using runtime::Task;

namespace {

// A connection that served before may have ended just as we took it; another one may be at hand.
// More than a few in a row are not chance.
constexpr int kStaleMax = 3;

// RFC 9110, 9.2.2: what may be sent again without having been asked for.
bool is_idempotent(std::string_view method) {
  return method == "GET" || method == "HEAD" || method == "OPTIONS" || method == "PUT" ||
         method == "DELETE" || method == "TRACE";
}

Error late() { return {Code::kTimeout, "the route's timeout has passed"}; }

}  // namespace

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
    co_await fail_with(403, Flag::kRefused, service->refused);
  } else if (const routing::Table* const table = find_table(service); table != nullptr) {
    co_await take_route(*table);
  } else {
    co_await forward(arrival_.straight);
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
  const routing::Match match = table.find(request);
  route_ = match.route;
  if (route_ == nullptr) co_return co_await fail_with(404, Flag::kNoRoute, "");
  report_.route = match.name;
  Result<std::optional<routing::Answer>> answer = routing::answer(match, request);
  if (!answer) co_return co_await fail_with(500, Flag::kNone, answer.error().message);
  if (*answer) co_return co_await give(**answer);
  weighted_ = routing::choose(*route_, proxy_.dice_());
  if (weighted_ == nullptr || weighted_->destination->hostname().empty()) {
    co_return co_await fail_with(500, Flag::kNoCluster, "");
  }
  Result<void> changed = routing::change_request(match, *weighted_, facts(), request);
  if (!changed) co_return co_await fail_with(500, Flag::kNone, changed.error().message);
  std::optional<runtime::Deadline> deadline;
  if (const uint32_t limit_ms = route_->config->timeout_ms(); limit_ms > 0) {
    deadline.emplace(proxy_.loop_, std::chrono::milliseconds(limit_ms), [this] {
      timed_out_ = true;
      if (upstream_ != nullptr) upstream_->abort();
    });
  }
  co_await forward(*weighted_->destination);
}

Task<void> Request::give(routing::Answer& answer) {
  routing::change_response(*route_, nullptr, facts(), exchange_.request(), answer.head);
  report_.status = answer.head.status;
  report_.sent_bytes = answer.body.size();
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

routing::Facts Request::facts() const {
  routing::Facts facts;
  facts.upstream = endpoint_;
  facts.route_name = report_.route;
  return facts;
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
}

Task<void> Request::forward(const weft::route::Destination& destination) {
  for (int stale = 0;; ++stale) {
    std::expected<std::unique_ptr<Try>, Failure> attempt =
        co_await proxy_.upstreams_.begin(destination, exchange_.request().version, Chooser{});
    if (!attempt) {
      Failure& failure = attempt.error();
      std::string body = failure.flag == Flag::kNoHealthyUpstream
                             ? std::string("no healthy upstream")
                             : "upstream connect error or disconnect/reset before headers. reset "
                               "reason: remote connection failure: " +
                                   failure.error.to_string();
      co_return co_await fail_with(503, failure.flag, std::move(body), failure.overflow);
    }
    endpoint_ = (*attempt)->endpoint();
    report_.endpoint = endpoint_;
    resend_ = {.any = stale < kStaleMax && !exchange_.has_more()};
    resend_.idempotent =
        resend_.any && (*attempt)->is_reused() && is_idempotent(exchange_.request().method);
    stale_ = false;
    co_await try_once(**attempt);
    if (!stale_) co_return;
  }
}

Task<void> Request::try_once(Try& attempt) {
  http::ClientExchange& upstream = attempt.exchange();
  if (timed_out_) co_return co_await fail_upstream(late());
  upstream_ = &upstream;
  exchange_.when_gone([this, &upstream] {
    client_gone_ = true;
    upstream.abort();
  });
  runtime::TaskScope copying;
  Result<void> sent = co_await upstream.send(exchange_.request(), !exchange_.has_more());
  if (sent && exchange_.has_more()) sent = co_await send_ready(upstream);
  if (sent && exchange_.has_more()) copying.spawn(copy_request(upstream));
  // A server may have answered before it stopped listening, so a failure to send decides nothing.
  Result<http::ResponseHead> head = co_await upstream.response();
  while (head && head->status < 200 && head->status != 101) {
    static_cast<void>(co_await exchange_.inform(std::move(*head)));
    head = co_await upstream.response();
  }
  if (!head) {
    attempt.answered(0);
    if (timed_out_) head = Fail(late());
    const Code code = head.error().code;
    stale_ = !client_gone_ && ((resend_.any && code == Code::kUnavailable) ||
                               (resend_.idempotent && code == Code::kReset));
    if (!stale_) co_await fail_upstream(head.error());
  } else {
    attempt.answered(head->status);
    report_.status = head->status;
    report_.upstream = proxy_.loop_.now() - report_.began;
    if (head->status == 101) {
      co_await upgrade(upstream, std::move(*head));
    } else {
      const Result<void> copied = co_await copy_response(upstream, std::move(*head));
      if (!copied) fail_copy(copied.error());
    }
  }
  exchange_.when_gone({});
  upstream_ = nullptr;
  if (copying.running() > 0) {
    exchange_.stop_reading();
    upstream.abort();
    co_await copying.join();
  }
}

// What has come of the body already, so that a small request leaves in one piece.
Task<Result<void>> Request::send_ready(http::ClientExchange& upstream) {
  while (std::optional<Buffer> bytes = exchange_.take_ready()) {
    report_.received_bytes += bytes->size();
    CO_TRY(co_await upstream.write(std::move(*bytes)));
  }
  if (exchange_.has_more()) co_return co_await upstream.flush();
  co_return co_await upstream.finish(exchange_.take_trailers());
}

Task<void> Request::copy_request(http::ClientExchange& upstream) {
  while (exchange_.has_more()) {
    Result<Buffer> bytes = co_await exchange_.read();
    if (!bytes) {
      // The client broke off, or was told to stop; what the server has is not whole.
      if (bytes.error().code == Code::kInvalid) {
        malformed_ = std::move(bytes.error().message);
      } else if (bytes.error().code != Code::kCancelled) {
        client_gone_ = true;
      }
      upstream.abort();
      co_return;
    }
    report_.received_bytes += bytes->size();
    if (!bytes->empty() && !co_await upstream.write(std::move(*bytes))) co_return;
    Result<void> sent = co_await send_ready(upstream);
    if (!sent) co_return;
    if (!exchange_.has_more()) co_return;
  }
  static_cast<void>(co_await upstream.finish(exchange_.take_trailers()));
}

Task<Result<void>> Request::copy_response(http::ClientExchange& upstream, http::ResponseHead head) {
  using std::chrono::duration_cast;
  using std::chrono::milliseconds;
  std::array<char, 24> digits{};
  const auto end = std::to_chars(digits.begin(), digits.end(),
                                 duration_cast<milliseconds>(*report_.upstream).count())
                       .ptr;
  head.fields.set("x-envoy-upstream-service-time",
                  {digits.data(), static_cast<size_t>(end - digits.data())});
  CO_TRY(co_await exchange_.respond(std::move(head), !upstream.has_more()));
  if (!upstream.has_more()) co_return Result<void>();
  while (upstream.has_more()) {
    std::optional<Buffer> bytes = upstream.take_ready();
    if (!bytes && upstream.has_more()) {
      CO_TRY(co_await exchange_.flush());
      bytes = CO_TRY(co_await upstream.read());
    }
    if (!bytes) continue;
    report_.sent_bytes += bytes->size();
    CO_TRY(co_await exchange_.write(std::move(*bytes)));
  }
  co_return co_await exchange_.finish(upstream.take_trailers());
}

// The response's head is sent already: nothing is left but to show that it is not whole.
void Request::fail_copy(const Error& error) {
  exchange_.abort();
  if (timed_out_) {
    report_.flag = Flag::kUpstreamTimeout;
    return;
  }
  report_.flag = client_gone_ || error.code != Code::kReset ? Flag::kDownstreamGone
                                                            : Flag::kUpstreamConnection;
}

Task<void> Request::upgrade(http::ClientExchange& upstream, http::ResponseHead head) {
  exchange_.when_gone({});
  Result<std::unique_ptr<runtime::ByteStream>> server = co_await upstream.take_stream();
  if (!server) co_return;
  Result<std::unique_ptr<runtime::ByteStream>> client = co_await exchange_.upgrade(std::move(head));
  if (!client) co_return;
  role::RelayBytes bytes;
  static_cast<void>(co_await role::relay(**client, **server, bytes));
  report_.received_bytes = bytes.sent;
  report_.sent_bytes = bytes.received;
}

Task<void> Request::fail_with(int status, Flag flag, std::string body, bool overloaded) {
  report_.status = status;
  report_.flag = flag;
  co_await reply(proxy_.loop_, exchange_,
                 {.status = status, .body = std::move(body), .overloaded = overloaded});
}

Task<void> Request::fail_upstream(const Error& error) {
  if (client_gone_) {
    report_.flag = Flag::kDownstreamGone;
    exchange_.abort();
    co_return;
  }
  if (!malformed_.empty()) {
    co_return co_await fail_with(400, Flag::kDownstreamProtocol, std::move(malformed_));
  }
  const std::string_view before =
      "upstream connect error or disconnect/reset before headers. reset reason: ";
  switch (error.code) {
    case Code::kInvalid:
      co_return co_await fail_with(502, Flag::kUpstreamProtocol,
                                   std::string(before) + "protocol error");
    case Code::kTimeout:
      co_return co_await fail_with(504, Flag::kUpstreamTimeout, "upstream request timeout");
    case Code::kUnavailable:
      co_return co_await fail_with(503, Flag::kUpstreamReset,
                                   std::string(before) + "remote refused stream reset");
    default:
      co_return co_await fail_with(503, Flag::kUpstreamConnection,
                                   std::string(before) + "connection termination");
  }
}

void Request::report() {
  report_.duration = proxy_.loop_.now() - report_.began;
  if (proxy_.reporter_ != nullptr) proxy_.reporter_->on_request(report_);
}

}  // namespace weft::waypoint
