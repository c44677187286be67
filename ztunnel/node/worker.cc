#include "ztunnel/node/worker.h"

namespace weft::node {

using runtime::Task;

Worker::Worker(std::unique_ptr<runtime::Loop> loop, learn::Learner& learner,
               telemetry::Shard& metrics, const DnsMetrics& dns_metrics, const NodeConfig& config,
               role::Sharings& sharings, size_t number)
    : loop_(std::move(loop)),
      view_(learner.make_view(*loop_)),
      context_{
          .loop = *loop_,
          .view = *view_,
          .metrics = metrics,
          .config = config,
          .random = std::mt19937_64(std::random_device{}()),
          .endpoint_memory = {},
          .handshakes = {},
          .local_proxy = [this](const learn::Workload& workload) { return local_proxy(workload); },
          .resolver = dns::Resolver(*loop_, config.resolv_conf),
          .worker = number,
          .sharings = sharings,
          .dns_metrics = &dns_metrics} {
  loop_->post([this] { view_->observe(this); });
}

Worker::~Worker() { CHECK(proxies_.empty()); }

void Worker::run() { loop_->run(); }

void Worker::request_stop(std::chrono::milliseconds limit, std::function<void()> stopped) {
  loop_->post([this, limit, stopped = std::move(stopped)]() mutable {
    loop_->spawn(stop_all(limit, std::move(stopped)));
  });
}

void Worker::list_connections(std::move_only_function<void(role::Connections)> answer) {
  loop_->post([this, answer = std::move(answer)]() mutable {
    role::Connections open;
    for (const auto& [uid, proxy] : proxies_) node::list_connections(*proxy, uid, open);
    answer(std::move(open));
  });
}

void Worker::pod_added(std::shared_ptr<const learn::Pod> pod) {
  if (stopping_) return;  // for the next ztunnel
  const auto present = proxies_.find(pod->uid);
  if (present != proxies_.end()) {
    present->second->adopt(std::move(pod));
    return;
  }
  const std::string uid = pod->uid;
  auto proxy = std::make_unique<PodProxy>(context_, std::move(pod));
  by_name_[{proxy->pod().ns, proxy->pod().name}] = proxy.get();
  proxies_.emplace(uid, std::move(proxy)).first->second->start();
}

void Worker::pod_removed(const std::string& uid) {
  const Error reason(Code::kUnavailable, "the pod has left the mesh");
  drop(uid, std::chrono::milliseconds(0), reason);
  const std::set<PodProxy*> draining = draining_;  // one that breaks may end
  for (PodProxy* proxy : draining) {
    if (draining_.contains(proxy) && proxy->pod().uid == uid) proxy->break_all(reason);
  }
}

void Worker::drop(const std::string& uid, std::chrono::milliseconds limit, const Error& reason) {
  const auto found = proxies_.find(uid);
  if (found == proxies_.end()) return;
  std::unique_ptr<PodProxy> proxy = std::move(found->second);
  proxies_.erase(found);
  by_name_.erase({proxy->pod().ns, proxy->pod().name});
  leaving_.spawn(stop_proxy(std::move(proxy), limit, reason));
}

void Worker::identity_renewed(const SpiffeId& identity) {
  for (const auto& [uid, proxy] : proxies_) proxy->retire(identity);
}

void Worker::state_changed() {
  const std::shared_ptr<const learn::State> state = view_->state();
  if (std::exchange(judged_by_, state->policy_generation()) == state->policy_generation()) return;
  for (const auto& [uid, proxy] : proxies_) proxy->rejudge(*state);
  const std::set<PodProxy*> draining = draining_;  // one whose last connection is broken may end
  for (PodProxy* proxy : draining) {
    if (draining_.contains(proxy)) proxy->rejudge(*state);
  }
}

void Worker::trust_changed() {
  const std::shared_ptr<const tls::RevocationList> revoked = view_->trust().revoked;
  if (!revoked) return;
  for (const auto& [uid, proxy] : proxies_) proxy->break_revoked(*revoked);
  const std::set<PodProxy*> draining = draining_;
  for (PodProxy* proxy : draining) {
    if (draining_.contains(proxy)) proxy->break_revoked(*revoked);
  }
}

Task<void> Worker::stop_proxy(std::unique_ptr<PodProxy> proxy, std::chrono::milliseconds limit,
                              Error reason) {
  PodProxy* raw = proxy.get();
  draining_.insert(raw);
  co_await proxy->stop(limit, std::move(reason));
  draining_.erase(raw);
}

Task<void> Worker::stop_all(std::chrono::milliseconds limit, std::function<void()> stopped) {
  stopping_ = true;
  const Error reason(Code::kTimeout, "this ztunnel is ending and its drain time is over");
  while (!proxies_.empty()) drop(std::string(proxies_.begin()->first), limit, reason);
  co_await leaving_.join();
  view_->observe(nullptr);
  co_await context_.resolver.stop();
  view_.reset();  // here: its TLS contexts belong to this thread
  stopped();
  loop_->stop();
}

PodProxy* Worker::local_proxy(const learn::Workload& workload) {
  if (workload.node != context_.config.node_name) return nullptr;
  const auto found = by_name_.find({workload.ns, workload.name});
  return found == by_name_.end() ? nullptr : found->second;
}

}  // namespace weft::node
