#include "ztunnel/learn/view.h"

#include "ztunnel/learn/state_data.h"
#include "ztunnel/learn/view_hub.h"
#include "ztunnel/runtime/sync.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <unordered_map>
#include <utility>

namespace weft::learn {
namespace {

using runtime::Task;
using Clock = std::chrono::steady_clock;

// Tasks that wait for news, each with a deadline of its own. One that times out wakes nobody else.
class Waiters {
 public:
  ~Waiters() { CHECK(events_.empty()); }

  // Until wake_all() or `until`; false once `until` has passed.
  Task<bool> wait(runtime::Loop& loop, Clock::time_point until) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - loop.now());
    if (left <= std::chrono::milliseconds::zero()) co_return false;
    runtime::Event event;
    events_.insert(&event);
    runtime::Deadline deadline(loop, left, [&event] { event.set(); });
    co_await event.wait();
    events_.erase(&event);
    co_return !deadline.expired();
  }
  void wake_all() {
    for (runtime::Event* event : std::exchange(events_, {})) event->set();
  }

 private:
  std::set<runtime::Event*> events_;
};

struct Identity {
  std::shared_ptr<const tls::Credentials> credentials;
  std::optional<Error> failure;
  std::shared_ptr<tls::Context> context;  // made when first asked for
};

}  // namespace

struct ViewCore {
  runtime::Loop& loop;
  std::string node_name;
  std::string cluster_id;
  std::shared_ptr<const State> state;
  std::shared_ptr<const tls::Trust> trust;                 // never null
  std::map<std::string, std::shared_ptr<const Pod>> pods;  // by uid
  std::unordered_map<SpiffeId, Identity> identities;
  PodObserver* observer = nullptr;
  bool closed = false;  // the View is gone; what is still posted is dropped
  Waiters state_waiters;
  Waiters identity_waiters;

  ViewCore(runtime::Loop& worker, std::string node, std::string cluster)
      : loop(worker),
        node_name(std::move(node)),
        cluster_id(std::move(cluster)),
        state(std::make_shared<const State>(std::make_shared<const State::Data>())) {}

  void on_state(std::shared_ptr<const State> next) {
    state = std::move(next);
    state_waiters.wake_all();
    if (observer != nullptr) observer->state_changed();
  }

  void on_trust(std::shared_ptr<const tls::Trust> next) {
    trust = std::move(next);
    for (const auto& [id, identity] : identities) {
      if (identity.context != nullptr) identity.context->set_trust(trust);
    }
    if (observer != nullptr) observer->trust_changed();
  }

  void on_pod_added(std::shared_ptr<const Pod> pod) {
    pods[pod->uid] = pod;
    if (observer != nullptr) observer->pod_added(std::move(pod));
  }

  void on_pod_removed(const std::string& uid) {
    if (pods.erase(uid) > 0 && observer != nullptr) observer->pod_removed(uid);
  }

  void on_identity_issued(std::shared_ptr<const tls::Credentials> credentials) {
    Identity& identity = identities[credentials->identity];
    const bool renewed = identity.credentials != nullptr;
    const SpiffeId id = credentials->identity;
    identity = Identity{std::move(credentials), std::nullopt, nullptr};
    identity_waiters.wake_all();
    if (renewed && observer != nullptr) observer->identity_renewed(id);
  }
};

namespace {

class ViewImpl final : public View {
 public:
  explicit ViewImpl(std::shared_ptr<ViewCore> core) : core_(std::move(core)) {}
  ~ViewImpl() override {
    core_->closed = true;
    core_->observer = nullptr;
    core_->identities.clear();  // contexts belong to this thread
    core_->pods.clear();
  }

  std::shared_ptr<const State> state() const override { return core_->state; }
  const tls::Trust& trust() const override { return *core_->trust; }

  Task<Result<std::shared_ptr<const State>>> ready_state(std::chrono::milliseconds limit) override {
    const auto until = core_->loop.now() + limit;
    while (!core_->state->data().complete()) {
      if (!co_await core_->state_waiters.wait(core_->loop, until)) {
        co_return fail(Code::kTimeout, "control has not sent the mesh's configuration yet");
      }
    }
    co_return core_->state;
  }

  Task<Result<std::shared_ptr<const Workload>>> workload_of(
      const Pod& pod, std::chrono::milliseconds limit) override {
    const auto until = core_->loop.now() + limit;
    const std::string ns = pod.ns;
    const std::string name = pod.name;
    const std::string service_account = pod.service_account;
    while (true) {
      auto workload = core_->state->workload_of_pod(ns, name);
      // A pod of the same name may have been here, or elsewhere, before.
      if (workload != nullptr && workload->identity.service_account == service_account &&
          (workload->node.empty() || workload->node == core_->node_name) &&
          (workload->cluster_id.empty() || workload->cluster_id == core_->cluster_id)) {
        co_return workload;
      }
      if (!co_await core_->state_waiters.wait(core_->loop, until)) {
        co_return fail(Code::kTimeout,
                       "control has not announced the pod " + ns + "/" + name + " yet");
      }
    }
  }

  Task<Result<std::shared_ptr<tls::Context>>> context_for(
      SpiffeId identity, std::chrono::milliseconds limit) override {
    const auto until = core_->loop.now() + limit;
    while (true) {
      const auto found = core_->identities.find(identity);
      if (found != core_->identities.end() && is_valid(found->second)) {
        co_return context_of(found->second);
      }
      if (!co_await core_->identity_waiters.wait(core_->loop, until)) break;
    }
    co_return no_certificate(identity);
  }

  void observe(PodObserver* observer) override {
    core_->observer = observer;
    if (observer == nullptr) return;
    const auto present = core_->pods;
    for (const auto& [uid, pod] : present) observer->pod_added(pod);
  }

 private:
  static bool is_valid(const Identity& identity) {
    return identity.credentials != nullptr &&
           identity.credentials->not_after > std::chrono::system_clock::now();
  }

  Result<std::shared_ptr<tls::Context>> context_of(Identity& identity) const {
    if (identity.context == nullptr) {
      identity.context = TRY(tls::Context::make(identity.credentials));
      identity.context->set_trust(core_->trust);
    }
    return identity.context;
  }

  Fail no_certificate(const SpiffeId& identity) const {
    const std::string what = "no certificate for " + identity.to_string();
    const auto found = core_->identities.find(identity);
    if (found == core_->identities.end()) {
      return fail(Code::kTimeout, what + ": the CA has not answered yet");
    }
    if (found->second.failure) return Fail(Error(*found->second.failure).in(what));
    return fail(Code::kUnavailable, what + ": it has expired, and the CA has not renewed it");
  }

  std::shared_ptr<ViewCore> core_;
};

}  // namespace

ViewHub::ViewHub(std::string node_name, std::string cluster_id)
    : node_name_(std::move(node_name)), cluster_id_(std::move(cluster_id)) {}

ViewHub::~ViewHub() = default;

std::unique_ptr<View> ViewHub::make_view(runtime::Loop& worker) {
  cores_.push_back(std::make_shared<ViewCore>(worker, node_name_, cluster_id_));
  cores_.back()->trust = trust_;
  return std::make_unique<ViewImpl>(cores_.back());
}

template <class Call>
void ViewHub::post(Call call) {
  for (const auto& core : cores_) {
    core->loop.post([core, call] {
      if (!core->closed) call(*core);
    });
  }
}

void ViewHub::publish_state(std::shared_ptr<const State> state) {
  post([state](ViewCore& core) { core.on_state(state); });
}

void ViewHub::publish_trust(std::shared_ptr<const tls::Trust> trust) {
  trust_ = trust;
  post([trust](ViewCore& core) { core.on_trust(trust); });
}

void ViewHub::pod_added(std::shared_ptr<const Pod> pod) {
  post([pod](ViewCore& core) { core.on_pod_added(pod); });
}

void ViewHub::pod_removed(const std::string& uid) {
  post([uid](ViewCore& core) { core.on_pod_removed(uid); });
}

void ViewHub::identity_issued(std::shared_ptr<const tls::Credentials> credentials) {
  post([credentials](ViewCore& core) { core.on_identity_issued(credentials); });
}

void ViewHub::identity_failed(const SpiffeId& identity, const Error& error) {
  post([identity, error](ViewCore& core) { core.identities[identity].failure = error; });
}

void ViewHub::identity_gone(const SpiffeId& identity) {
  post([identity](ViewCore& core) { core.identities.erase(identity); });
}

}  // namespace weft::learn
