#include "ztunnel/waypoint/forwarding.h"

#include "ztunnel/role/relay.h"
#include "ztunnel/waypoint/local_reply.h"
#include "ztunnel/waypoint/mirror.h"

#include <array>
#include <charconv>
#include <utility>

namespace weft::waypoint {

using runtime::Task;

namespace {

// A connection that served before may have ended just as we took it; another one may be at hand.
// More than a few in a row are not chance.
constexpr int kStaleMax = 3;

// What Istio lets be tried again where no route says anything.
const weft::route::Retry& default_retry() {
  static const weft::route::Retry kDefault = [] {
    weft::route::Retry retry;
    retry.set_attempts(2);
    for (const char* word : {"connect-failure", "refused-stream", "unavailable", "cancelled"}) {
      retry.add_on(word);
    }
    retry.set_avoid_previous_hosts(true);
    return retry;
  }();
  return kDefault;
}

const weft::route::Retry* retry_of(const routing::Route* route) {
  if (route == nullptr) return &default_retry();
  return route->config->has_retry() ? &route->config->retry() : nullptr;
}

// RFC 9110, 9.2.2: what may be sent again without having been asked for.
bool is_idempotent(std::string_view method) {
  return method == "GET" || method == "HEAD" || method == "OPTIONS" || method == "PUT" ||
         method == "DELETE" || method == "TRACE";
}

}  // namespace

Forwarding::Forwarding(Proxy& proxy, const Arrival& arrival, http::ServerExchange& exchange,
                       Report& report, Plan plan)
    : proxy_(proxy),
      exchange_(exchange),
      report_(report),
      plan_(std::move(plan)),
      rules_(retry_of(plan_.route), exchange.request()),
      deadlines_(
          deadlines_of(plan_.route == nullptr ? nullptr : plan_.route->config, exchange.request())),
      pump_(proxy.loop_, exchange, proxy.kept_, report.received_bytes),
      pause_(proxy.loop_),
      affinity_{exchange.request(), arrival.client.ip, {}, proxy.dice_()} {
  report_.destination = plan_.destination;
}

Task<void> Forwarding::run() {
  prepare_head();
  plan_mirrors();
  if (rules_.attempts() > 0 || !mirrors_.empty()) pump_.keep();
  std::optional<runtime::Deadline> whole;
  if (deadlines_.whole.count() > 0) {
    whole.emplace(proxy_.loop_, deadlines_.whole, [this] {
      timed_out_ = true;
      give_up();
    });
  }
  watch_client();
  if (pump_.is_empty()) {
    start_mirrors();
  } else {
    pump_.when_whole([this] {
      watch_client();
      start_mirrors();
    });
  }
  co_await tries();
  exchange_.when_gone({});
  co_await pump_.stop();
  give_retry();
}

void Forwarding::prepare_head() {
  http::RequestHead& head = exchange_.request();
  remove_retry_headers(head);
  if (deadlines_.whole.count() > 0) {
    head.fields.set("x-envoy-expected-rq-timeout-ms", std::to_string(deadlines_.whole.count()));
  }
}

void Forwarding::watch_client() {
  exchange_.when_gone([this] {
    client_gone_ = true;
    give_up();
  });
}

// Ends whatever is waited for.
void Forwarding::give_up() {
  if (upstream_ != nullptr) upstream_->abort();
  if (beginning_) beginning_->done.wake();
  pause_.wake();
}

Task<void> Forwarding::tries() {
  for (;;) {
    Begun attempt = co_await begin();
    if (!attempt) {
      const bool is_overflow = attempt.error().flag == Flag::kUpstreamOverflow;
      const bool is_failure = attempt.error().flag == Flag::kUpstreamFailure;
      Outcome outcome;
      outcome.kind = is_overflow ? Outcome::Kind::kOverflow : Outcome::Kind::kConnectFailure;
      if ((!is_overflow && !is_failure) || !take_retry(outcome)) {
        co_return co_await fail_begin(std::move(attempt.error()));
      }
    } else {
      endpoint_ = (*attempt)->endpoint();
      report_.endpoint = endpoint_;
      const Next next = co_await try_once(**attempt);
      if (next == Next::kDone) co_return;
      if (next == Next::kStale) continue;
    }
    attempt = std::unexpected(Failure{Error(Code::kCancelled, ""), Flag::kNone});
    co_await pause_.wait(rules_.pause(retries_, proxy_.dice_()));
  }
}

Task<void> Forwarding::begin_for(Upstreams& upstreams, std::shared_ptr<Beginning> beginning,
                                 http::Version version, Chooser chooser) {
  Begun begun = co_await upstreams.begin(beginning->destination, version, chooser);
  if (beginning->waiter->abandoned) co_return;
  beginning->begun = std::move(begun);
  beginning->done.set();
}

// A request without a deadline waits for its connection as long as that may take; one with a
// deadline leaves the wait to itself when time is up.
Task<Forwarding::Begun> Forwarding::begin() {
  Chooser chooser;
  chooser.affinity = &affinity_;
  chooser.upgrade = exchange_.request().protocol == "websocket";
  const weft::route::Retry* retry = retry_of(plan_.route);
  if (!tried_.empty() && retry != nullptr) {
    if (retry->avoid_previous_hosts() || retry->other_localities()) chooser.avoid = &tried_;
    chooser.other_localities = retry->other_localities();
  }
  const http::Version version = exchange_.request().version;
  if (deadlines_.whole.count() == 0) {
    co_return co_await proxy_.upstreams_.begin(*plan_.destination, version, chooser);
  }
  const auto beginning = std::make_shared<Beginning>();
  beginning->destination = *plan_.destination;
  beginning_ = beginning;
  chooser.waiter = beginning->waiter;
  proxy_.loop_.spawn(begin_for(proxy_.upstreams_, beginning, version, chooser));
  while (!beginning->begun && !timed_out_ && !client_gone_) co_await beginning->done.wait();
  beginning_ = nullptr;
  if (beginning->begun) co_return std::move(*beginning->begun);
  beginning->waiter->abandon();
  co_return std::unexpected(
      Failure{Error(Code::kTimeout, "no connection before the timeout"), Flag::kUpstreamTimeout});
}

Task<Forwarding::Next> Forwarding::try_once(Try& attempt) {
  if (timed_out_ || client_gone_) {
    co_await fail_upstream(Error(Code::kTimeout, "the route's timeout has passed"));
    co_return Next::kDone;
  }
  http::ClientExchange& upstream = attempt.exchange();
  upstream_ = &upstream;
  try_timed_out_ = false;
  Result<http::ResponseHead> head = co_await ask(attempt);
  Next next = Next::kDone;
  if (head) {
    next = co_await pass(attempt, std::move(*head));
  } else {
    next = co_await without_answer(attempt, std::move(head.error()));
  }
  upstream_ = nullptr;
  // What is left of the request is for nobody, or for the next try.
  if (!pump_.is_whole()) upstream.abort();
  co_await pump_.detach();
  co_return next;
}

Task<Result<http::ResponseHead>> Forwarding::ask(Try& attempt) {
  http::ClientExchange& upstream = attempt.exchange();
  std::optional<runtime::Deadline> limit;
  if (deadlines_.per_try.count() > 0) {
    limit.emplace(proxy_.loop_, deadlines_.per_try, [this, &upstream] {
      try_timed_out_ = true;
      upstream.abort();
    });
  }
  http::FieldList& fields = exchange_.request().fields;
  fields.set("x-envoy-attempt-count", std::to_string(retries_ + 1));
  const bool is_empty = pump_.is_empty();
  const Result<void> sent = co_await upstream.send(exchange_.request(), is_empty);
  // A server may have answered before it stopped listening, so a failure to send decides nothing.
  if (sent && !is_empty) static_cast<void>(co_await pump_.attach(upstream));
  Result<http::ResponseHead> head = co_await upstream.response();
  while (head && head->status < 200 && head->status != 101) {
    static_cast<void>(co_await exchange_.inform(std::move(*head)));
    head = co_await upstream.response();
  }
  co_return head;
}

Task<Forwarding::Next> Forwarding::pass(Try& attempt, http::ResponseHead head) {
  attempt.answered(head.status);
  Outcome outcome;
  outcome.request_sent = true;
  outcome.answer = &head;
  if (take_retry(outcome)) co_return Next::kAgain;
  if (given_up_ != Flag::kNone) report_.flag = given_up_;
  if (mirrors_.empty()) pump_.forget();
  report_.status = head.status;
  report_.upstream = proxy_.loop_.now() - report_.began;
  if (head.status == 101) {
    co_await upgrade(attempt.exchange(), std::move(head));
  } else {
    const Result<void> copied = co_await copy_response(attempt.exchange(), std::move(head));
    if (!copied) fail_copy(copied.error());
  }
  co_return Next::kDone;
}

Task<Forwarding::Next> Forwarding::without_answer(Try& attempt, Error error) {
  if (timed_out_ || try_timed_out_) {
    error = Error(Code::kTimeout, "the request's timeout has passed");
  }
  // Nobody has to ask for another try where the server did nothing with the request, or where an
  // old connection ended and nothing bad comes of sending it twice.
  const bool is_stale =
      !client_gone_ && pump_.is_empty() &&
      (error.code == Code::kUnavailable || (error.code == Code::kReset && attempt.is_reused() &&
                                            is_idempotent(exchange_.request().method)));
  if (is_stale && stales_ < kStaleMax) {
    ++stales_;
    co_return Next::kStale;
  }
  if (!client_gone_ && !pump_.failure()) attempt.answered(0);
  Outcome outcome;
  outcome.request_sent = error.code != Code::kUnavailable;
  outcome.kind = error.code == Code::kTimeout       ? Outcome::Kind::kTimeout
                 : error.code == Code::kUnavailable ? Outcome::Kind::kRefused
                                                    : Outcome::Kind::kReset;
  if (take_retry(outcome)) co_return Next::kAgain;
  co_await fail_upstream(error);
  co_return Next::kDone;
}

bool Forwarding::take_retry(const Outcome& outcome) {
  if (rules_.attempts() == 0 || timed_out_ || client_gone_ || exchange_.has_responded() ||
      pump_.failure() || !pump_.can_replay() || !rules_.wants(outcome)) {
    return false;
  }
  if (retries_ >= rules_.attempts()) {
    given_up_ = Flag::kRetryLimit;
    return false;
  }
  give_retry();
  if (!proxy_.upstreams_.take_retry(*plan_.destination)) {
    given_up_ = Flag::kUpstreamOverflow;
    return false;
  }
  holds_retry_ = true;
  ++retries_;
  if (!endpoint_.empty()) tried_.push_back(endpoint_);
  return true;
}

void Forwarding::give_retry() {
  if (std::exchange(holds_retry_, false)) proxy_.upstreams_.give_retry(*plan_.destination);
}

Task<Result<void>> Forwarding::copy_response(http::ClientExchange& upstream,
                                             http::ResponseHead head) {
  using std::chrono::duration_cast;
  using std::chrono::milliseconds;
  std::array<char, 24> digits{};
  const auto end = std::to_chars(digits.begin(), digits.end(),
                                 duration_cast<milliseconds>(*report_.upstream).count())
                       .ptr;
  head.fields.set("x-envoy-upstream-service-time",
                  {digits.data(), static_cast<size_t>(end - digits.data())});
  if (affinity_.key && !affinity_.key->set_cookie.empty()) {
    head.fields.add("set-cookie", affinity_.key->set_cookie);
  }
  if (plan_.route != nullptr) {
    plan_.facts.upstream = endpoint_;
    routing::change_response(*plan_.route, plan_.weighted, plan_.facts, exchange_.request(), head);
  }
  if (proxy_.reporter_ != nullptr) proxy_.reporter_->on_answer(report_, head);
  CO_TRY(co_await exchange_.respond(std::move(head), !upstream.has_more()));
  if (!upstream.has_more()) co_return Result<void>();
  while (upstream.has_more()) {
    std::optional<runtime::Buffer> bytes = upstream.take_ready();
    if (!bytes && upstream.has_more()) {
      CO_TRY(co_await exchange_.flush());
      bytes = CO_TRY(co_await upstream.read());
    }
    if (!bytes) continue;
    report_.sent_bytes += bytes->size();
    CO_TRY(co_await exchange_.write(std::move(*bytes)));
  }
  http::FieldList trailers = upstream.take_trailers();
  if (proxy_.reporter_ != nullptr) proxy_.reporter_->on_trailers(report_, trailers);
  co_return co_await exchange_.finish(std::move(trailers));
}

Task<void> Forwarding::upgrade(http::ClientExchange& upstream, http::ResponseHead head) {
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

void Forwarding::plan_mirrors() {
  if (plan_.route == nullptr) return;
  for (const weft::route::Mirror& mirror : plan_.route->config->mirrors()) {
    if (mirror.destination().hostname().empty()) continue;
    if (routing::falls(mirror.per_million(), proxy_.dice_())) mirrors_.push_back(&mirror);
  }
}

// When the request is whole. One whose body was too long to keep is not mirrored.
void Forwarding::start_mirrors() {
  if (pump_.can_replay()) {
    for (const weft::route::Mirror* mirror : mirrors_) {
      if (*proxy_.mirrors_ >= MirrorCopy::kAtOnceMax) break;
      MirrorCopy copy;
      copy.config = plan_.config;
      copy.destination = &mirror->destination();
      copy.head = copy_of(exchange_.request());
      copy.body = pump_.kept();
      copy.timeout = deadlines_.whole;
      ++*proxy_.mirrors_;
      proxy_.loop_.spawn(
          send_mirror(proxy_.loop_, proxy_.upstreams_, std::move(copy), proxy_.mirrors_));
    }
  }
  mirrors_.clear();
}

Task<void> Forwarding::fail_with(int status, Flag flag, std::string body, bool overloaded) {
  report_.status = status;
  report_.flag = flag;
  LocalReply with;
  with.status = status;
  with.body = std::move(body);
  with.overloaded = overloaded;
  co_await reply(proxy_.loop_, exchange_, std::move(with));
}

Task<void> Forwarding::fail_begin(Failure failure) {
  if (timed_out_ || client_gone_) {
    co_return co_await fail_upstream(Error(Code::kTimeout, "no connection before the timeout"));
  }
  const std::string_view before =
      "upstream connect error or disconnect/reset before headers. reset reason: ";
  std::string body;
  switch (failure.flag) {
    case Flag::kNoHealthyUpstream:
      body = "no healthy upstream";
      break;
    case Flag::kUpstreamOverflow:
      body = std::string(before) + "overflow";
      break;
    default:
      body = std::string(before) + "remote connection failure: " + failure.error.to_string();
  }
  co_await fail_with(503, failure.flag, std::move(body), failure.overflow);
}

Task<void> Forwarding::fail_upstream(const Error& error) {
  const std::optional<Error>& broken = pump_.failure();
  if (broken && broken->code == Code::kInvalid && !client_gone_) {
    co_return co_await fail_with(400, Flag::kDownstreamProtocol, broken->message);
  }
  if (client_gone_ || broken) {
    report_.flag = Flag::kDownstreamGone;
    exchange_.abort();
    co_return;
  }
  const std::string before =
      "upstream connect error or disconnect/reset before headers. reset reason: ";
  switch (error.code) {
    case Code::kInvalid:
      co_return co_await fail_with(502, Flag::kUpstreamProtocol, before + "protocol error");
    case Code::kTimeout:
      co_return co_await fail_with(504, Flag::kUpstreamTimeout, "upstream request timeout");
    case Code::kUnavailable:
      co_return co_await fail_with(503, Flag::kUpstreamReset,
                                   before + "remote refused stream reset");
    default:
      co_return co_await fail_with(503, Flag::kUpstreamConnection,
                                   before + "connection termination");
  }
}

// The response's head is sent already: nothing is left but to show that it is not whole.
void Forwarding::fail_copy(const Error& error) {
  if (timed_out_) {
    report_.flag = Flag::kUpstreamTimeout;
  } else {
    report_.flag = client_gone_ || error.code != Code::kReset ? Flag::kDownstreamGone
                                                              : Flag::kUpstreamConnection;
  }
  exchange_.abort();  // tells that the client has gone, too
}

}  // namespace weft::waypoint
