#include "agent/control/kube/token_reviewer.h"

#include "ztunnel/base/log.h"

#include <optional>

namespace weft::control::kube {

using identity::Caller;
using runtime::Task;
using source::kube::Request;

namespace {

constexpr std::chrono::milliseconds kRequestMax{10'000};
// Where there is an older answer to fall back on, nobody waits long for a new one.
constexpr std::chrono::milliseconds kAgainMax{2'000};
// A token without an end of its own is asked for again after this.
constexpr std::chrono::minutes kEndlessFor{5};

Fail nobody_to_ask(const std::string& why) {
  return fail(Code::kUnavailable, "token: the API server cannot be asked (" + why + "): try again");
}

}  // namespace

struct TokenReviewer::State {
  State(source::kube::ApiClient& with, std::set<std::string> proxies, identity::Clock now)
      : client(with), node_proxies(std::move(proxies)), clock(std::move(now)) {}

  source::kube::ApiClient& client;
  const std::set<std::string> node_proxies;
  const identity::Clock clock;

  struct Waiting {
    std::string token;
    std::vector<Done> callers;
  };
  std::mutex mutex;
  // Guarded by it.
  TokenTable table;
  std::unordered_map<std::string, Waiting> waiting;  // by fingerprint
  std::deque<std::string> queue;                     // of those, whose review has not begun
  bool is_stopped = false;
  Counts counts;

  runtime::TaskScope reviews;  // of the loop's thread
};

bool TokenReviewer::is_known(State& state, const std::string& token) {
  const std::scoped_lock lock(state.mutex);
  const auto known = state.table.find(identity::fingerprint_of(token), state.clock());
  return known && known->caller;
}

TokenReviewer::TokenReviewer(source::kube::ApiClient& client, std::set<std::string> node_proxies,
                             identity::Clock clock)
    : state_(std::make_shared<State>(client, std::move(node_proxies), std::move(clock))) {}

TokenReviewer::~TokenReviewer() = default;

void TokenReviewer::authenticate(std::string token, Done done) const {
  const auto claims = identity::peek_claims(token);
  const auto now = state_->clock();
  // What no API server would accept is not brought before one.
  if (!claims) return done(Fail(claims.error()));
  if (!claims->is_for_us) return done(fail(Code::kRefused, "token: wrong audience"));
  if (claims->expires && *claims->expires <= now) {
    return done(fail(Code::kRefused, "token: expired"));
  }
  const std::string fingerprint = identity::fingerprint_of(token);
  std::optional<Result<Caller>> answer;
  {
    const std::scoped_lock lock(state_->mutex);
    const auto known = state_->table.find(fingerprint, now);
    const auto waiting = state_->waiting.find(fingerprint);
    if (known && known->is_fresh) {
      answer = known->caller;
    } else if (state_->is_stopped) {
      answer = nobody_to_ask("control is shutting down");
    } else if (waiting == state_->waiting.end() ? state_->waiting.size() >= kWaitingMax
                                                : waiting->second.callers.size() >= kCallersMax) {
      answer = nobody_to_ask("too many wait for it");
    } else {
      if (waiting == state_->waiting.end()) state_->queue.push_back(fingerprint);
      auto& entry = state_->waiting[fingerprint];
      entry.token = std::move(token);
      entry.callers.push_back(std::move(done));
    }
  }
  if (answer) return done(std::move(*answer));
  state_->client.loop().post([state = state_] { begin_reviews(state); });
}

void TokenReviewer::begin_reviews(const std::shared_ptr<State>& state) {
  while (state->reviews.running() < kReviewsMax) {
    std::string fingerprint;
    std::string token;
    {
      const std::scoped_lock lock(state->mutex);
      if (state->is_stopped || state->queue.empty()) return;
      fingerprint = std::move(state->queue.front());
      state->queue.pop_front();
      token = state->waiting.at(fingerprint).token;
      ++state->counts.reviews;
    }
    state->reviews.spawn(review(state, std::move(fingerprint), std::move(token)));
  }
}

Task<void> TokenReviewer::review(std::shared_ptr<State> state, std::string fingerprint,
                                 std::string token) {
  auto caller = co_await ask(state, std::move(token));
  finish(state, fingerprint, std::move(caller));
  state->client.loop().post([state] { begin_reviews(state); });
}

// kRefused: the API server says no. kUnavailable: it says nothing.
Task<Result<Caller>> TokenReviewer::ask(std::shared_ptr<State> state, std::string token) {
  const auto claims = identity::peek_claims(token);
  if (!claims) co_return Fail(claims.error());
  Request request;
  request.method = "POST";
  request.path = "/apis/authentication.k8s.io/v1/tokenreviews";
  request.body = review_request(token);
  request.timeout = is_known(*state, token) ? kAgainMax : kRequestMax;
  const auto answer = source::kube::body_of(co_await state->client.request(std::move(request)));
  if (!answer) co_return nobody_to_ask(answer.error().to_string());
  auto reviewed = read_review(*answer);
  if (!reviewed && reviewed.error().code != Code::kRefused) {
    co_return nobody_to_ask(reviewed.error().to_string());
  }
  if (!reviewed) co_return Fail(reviewed.error());
  Caller caller;
  caller.subject = reviewed->subject;
  caller.node = reviewed->node;
  caller.is_node_proxy = state->node_proxies.contains(caller.subject);
  caller.expires = claims->expires.value_or(state->clock() + kEndlessFor);
  if (!caller.is_node_proxy || !caller.node.empty()) co_return caller;
  // An API server before 1.30 names the pod, and not its node.
  if (reviewed->pod.empty()) {
    co_return fail(Code::kRefused, "token: of a node proxy, and bound to no pod");
  }
  Request get;
  get.path = "/api/v1/namespaces/" + source::kube::escape(reviewed->ns) + "/pods/" +
             source::kube::escape(reviewed->pod);
  get.timeout = kRequestMax;
  const auto pod = co_await state->client.request(std::move(get));
  if (pod && pod->status == 404) co_return fail(Code::kRefused, "token: its pod is gone");
  const auto body = source::kube::body_of(pod);
  if (!body) co_return nobody_to_ask(body.error().to_string());
  caller.node = CO_TRY(node_of_pod(*body, reviewed->pod_uid));
  co_return caller;
}

void TokenReviewer::finish(const std::shared_ptr<State>& state, const std::string& fingerprint,
                           Result<Caller> caller) {
  std::vector<Done> callers;
  {
    const std::scoped_lock lock(state->mutex);
    const auto now = state->clock();
    if (caller || caller.error().code == Code::kRefused) {
      if (!caller) ++state->counts.refused;
      state->table.put(fingerprint, caller, now);
    } else {
      ++state->counts.failures;
      const auto known = state->table.find(fingerprint, now);
      if (known && known->caller) {
        log::debug("token").field("error", caller.error().to_string()).say("believed as before");
        caller = known->caller;
      }
    }
    const auto waiting = state->waiting.find(fingerprint);
    if (waiting == state->waiting.end()) return;
    callers = std::move(waiting->second.callers);
    state->waiting.erase(waiting);
  }
  for (Done& done : callers) done(caller);
}

Task<void> TokenReviewer::stop() {
  std::vector<std::string> unbegun;
  {
    const std::scoped_lock lock(state_->mutex);
    state_->is_stopped = true;
    unbegun.assign(state_->queue.begin(), state_->queue.end());
    state_->queue.clear();
  }
  for (const std::string& one : unbegun) {
    finish(state_, one, nobody_to_ask("control is shutting down"));
  }
  co_await state_->reviews.join();
}

TokenReviewer::Counts TokenReviewer::counts() const {
  const std::scoped_lock lock(state_->mutex);
  Counts counts = state_->counts;
  counts.known = state_->table.size();
  return counts;
}

}  // namespace weft::control::kube
