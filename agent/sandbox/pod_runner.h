#pragma once

#include "agent/sandbox/container_runner.h"
#include "agent/sandbox/layout.h"
#include "agent/sandbox/pod_space.h"
#include "agent/sandbox/services.h"
#include "agent/sandbox/store.h"
#include "ztunnel/runtime/loop.h"
#include "ztunnel/runtime/sync.h"

#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace weft::sandbox {

// What a pod's kubelet asks the rest of the supervisor.
struct Cluster {
  runtime::Loop& loop;
  const Layout& layout;
  const Store& store;
  // Whether the pod is to be in the mesh (always false with --no-mesh).
  std::function<bool(const crd::core::Pod&)> is_to_be_enrolled;
  std::function<const crd::core::ConfigMap*(const std::string& ns, const std::string& name)>
      find_config_map;
  // Addresses of the node that no pod has, one of each family; kLimit where all are taken.
  std::function<Result<std::vector<std::string>>(int node)> take_ips;
};

// The kubelet of one pod, from its first sight to the removal of its object: network namespace,
// cgroup and pause process, waiting until its node's agent has put it into the mesh, init
// containers, containers, readiness, status, and the end in good order.
class PodRunner {
 public:
  PodRunner(Cluster& cluster, PodPtr pod);
  PodRunner(const PodRunner&) = delete;

  runtime::Task<void> run();  // ends when nothing of the pod is left; then destroy this
  // The newest version of the object; null: it is gone.
  void observe(PodPtr pod);

  const crd::core::Pod& pod() const { return *pod_; }
  const PodSpace& space() const { return space_; }
  Cluster& cluster() { return cluster_; }
  bool leaving() const { return leaving_; }
  // Ends early when the pod is to leave.
  runtime::Task<void> pause(std::chrono::milliseconds delay);
  // Writes phase, addresses, conditions and container states into the object, if they changed.
  void publish();
  // A sentence about the whole pod for `get`; empty: all is well.
  void say(std::string reason, std::string message);

 private:
  Result<void> prepare();
  runtime::Task<bool> set_up();
  runtime::Task<void> wait_for_capture();
  runtime::Task<void> run_init_containers();
  runtime::Task<void> terminate();
  void clean_up();
  void fill_status(crd::core::PodStatus& status) const;

  Cluster& cluster_;
  PodPtr pod_;
  int node_ = 0;
  std::vector<std::string> ips_;
  PodSpace space_;
  Child pause_;
  bool leaving_ = false;
  bool initialized_ = false;
  std::string reason_;
  std::string message_;
  std::vector<std::unique_ptr<ContainerRunner>> init_containers_;
  std::vector<std::unique_ptr<ContainerRunner>> containers_;
  runtime::TaskScope tasks_;
  runtime::Event changed_;
};

constexpr const char* kMeshAnnotation = "ambient.istio.io/redirection";

}  // namespace weft::sandbox
