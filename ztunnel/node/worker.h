#pragma once

#include "ztunnel/learn/view.h"
#include "ztunnel/node/connections.h"
#include "ztunnel/node/pod_proxy.h"
#include "ztunnel/role/run_role.h"
#include "ztunnel/runtime/loop.h"
#include "ztunnel/runtime/sync.h"

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>

namespace weft::node {

// One worker: a loop, and on it one PodProxy for each pod of this node. Everything here but the
// constructor and request_stop() runs on the worker's own thread; what it shares with other workers
// are immutable snapshots and the pods' listening sockets.
class Worker final : public role::Worker, public learn::PodObserver {
 public:
  Worker(std::unique_ptr<runtime::Loop> loop, learn::Learner& learner, telemetry::Shard& metrics,
         const DnsMetrics& dns_metrics, const NodeConfig& config, role::Sharings& sharings,
         size_t number);
  ~Worker() override;

  void run() override;
  void request_stop(std::chrono::milliseconds limit, std::function<void()> stopped) override;

  // Any thread. What is open at one moment; `answer` is called on the worker's thread, or never
  // where the worker has ended.
  void list_connections(std::move_only_function<void(role::Connections)> answer);

  void pod_added(std::shared_ptr<const learn::Pod> pod) override;
  void pod_removed(const std::string& uid) override;
  void identity_renewed(const SpiffeId& identity) override;
  void state_changed() override;
  void trust_changed() override;

 private:
  runtime::Task<void> stop_all(std::chrono::milliseconds limit, std::function<void()> stopped);
  runtime::Task<void> stop_proxy(std::unique_ptr<PodProxy> proxy, std::chrono::milliseconds limit,
                                 Error reason);
  void drop(const std::string& uid, std::chrono::milliseconds limit, const Error& reason);
  PodProxy* local_proxy(const learn::Workload& workload);

  std::unique_ptr<runtime::Loop> loop_;
  std::unique_ptr<learn::View> view_;
  WorkerContext context_;
  std::map<std::string, std::unique_ptr<PodProxy>> proxies_;          // by uid
  std::map<std::pair<std::string, std::string>, PodProxy*> by_name_;  // namespace, name
  // Whose connections may still go on for a while; policy is in force for them too.
  std::set<PodProxy*> draining_;
  uint64_t judged_by_ = 0;  // the policy generation that every open connection satisfies
  bool stopping_ = false;
  runtime::TaskScope leaving_;
};

}  // namespace weft::node
