#include "agent/control/kube/election.h"

#include "agent/control/kube/wall_clock.h"
#include "ztunnel/base/log.h"

#include <algorithm>

namespace weft::control::kube {

using runtime::Task;
using source::kube::Request;
using Clock = std::chrono::steady_clock;

namespace {

// The next try must come before the lease is lost, however the API server hangs.
constexpr std::chrono::milliseconds kRequestMax{5'000};
constexpr std::chrono::milliseconds kReleaseMax{2'000};
// Two replicas that wait for one lease come at different moments.
constexpr double kJitter = 0.2;

}  // namespace

Election::Election(source::kube::ApiClient& client, Names names, OnChange on_change,
                   std::function<double()> random, LeaseTimes times)
    : client_(client),
      names_(std::move(names)),
      on_change_(std::move(on_change)),
      random_(std::move(random)),
      times_(times),
      view_(names_.identity, times),
      pause_(client.loop()) {}

std::string Election::collection() const {
  return "/apis/coordination.k8s.io/v1/namespaces/" + source::kube::escape(names_.ns) + "/leases";
}

// How long a request may take: of who leads, not beyond the end of its lease.
std::chrono::milliseconds Election::patience() const {
  if (!leads_) return kRequestMax;
  const auto left =
      std::chrono::duration_cast<std::chrono::milliseconds>(good_until_ - Clock::now());
  return std::clamp(left, std::chrono::milliseconds(1), kRequestMax);
}

Task<void> Election::run() {
  while (!stopped_) {
    const auto sent = Clock::now();
    const auto taken = co_await attempt();
    if (taken) {
      was_refused_ = false;
      if (*taken) good_until_ = sent + times_.renew;
      settle(*taken || (leads_ && view_.is_ours() && Clock::now() < good_until_));
    } else {
      ++failures_;
      if (!was_refused_) {
        log::warn("lease")
            .field("error", taken.error().to_string())
            .say("the lease was not renewed");
      }
      was_refused_ = true;
      if (leads_ && Clock::now() >= good_until_) settle(false);
    }
    if (stopped_) break;
    auto pause = times_.retry;
    if (leads_) {
      const auto left =
          std::chrono::duration_cast<std::chrono::milliseconds>(good_until_ - Clock::now());
      pause = std::clamp(left, std::chrono::milliseconds(1), pause);
    } else {
      pause += std::chrono::milliseconds(
          static_cast<int64_t>(static_cast<double>(pause.count()) * kJitter * random_()));
    }
    co_await pause_.wait(pause);
  }
  if (leads_) co_await release();
  settle(false);
}

void Election::stop() {
  stopped_ = true;
  pause_.wake();
}

void Election::settle(bool leads) {
  if (leads == leads_) return;
  leads_ = leads;
  log::info("lease")
      .field("lease", names_.ns + "/" + names_.lease)
      .field("identity", names_.identity)
      .say(leads ? "this replica leads: it writes statuses, roots and the CA's Secret"
                 : "this replica does not lead any more");
  on_change_(leads);
}

Task<Result<bool>> Election::attempt() {
  Request get;
  get.path = collection() + "/" + source::kube::escape(names_.lease);
  get.timeout = patience();
  const auto found = CO_TRY(co_await client_.request(std::move(get)));
  if (found.status == 404) {
    co_return co_await write("POST", collection(),
                             view_.to_create(names_.ns, names_.lease, wall_clock_now()));
  }
  if (!found.is_good()) co_return Fail(source::kube::refusal_of(found).to_error());
  CO_TRY(view_.observe(found.body, Clock::now()));
  if (!view_.may_take(Clock::now())) co_return false;
  co_return co_await write("PUT", collection() + "/" + source::kube::escape(names_.lease),
                           view_.to_take(wall_clock_now()));
}

// A conflict means that another replica was faster.
Task<Result<bool>> Election::write(std::string method, std::string path, std::string body) {
  Request request;
  request.method = std::move(method);
  request.path = std::move(path);
  request.body = std::move(body);
  request.timeout = patience();
  const auto answer = CO_TRY(co_await client_.request(std::move(request)));
  if (answer.status == 409) co_return false;
  if (!answer.is_good()) co_return Fail(source::kube::refusal_of(answer).to_error());
  CO_TRY(view_.observe(answer.body, Clock::now()));
  co_return view_.is_ours();
}

Task<void> Election::release() {
  Request request;
  request.method = "PUT";
  request.path = collection() + "/" + source::kube::escape(names_.lease);
  request.body = view_.to_release(wall_clock_now());
  request.timeout = kReleaseMax;
  const auto answer = co_await client_.request(std::move(request));
  if (!answer || !answer->is_good()) {
    log::warn("lease").say("the lease was not given back: another replica takes it when it ends");
  }
}

}  // namespace weft::control::kube
