#pragma once

#include "agent/compile/capture_scope.h"
#include "agent/enrol/bpffs.h"
#include "agent/enrol/capture_object.h"
#include "agent/enrol/listeners.h"
#include "agent/enrol/pod_addresses.h"
#include "agent/enrol/scope_maps.h"
#include "bpf/weft_abi.h"
#include "ztunnel/base/fd.h"
#include "ztunnel/base/ip.h"
#include "ztunnel/base/result.h"

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace weft::enrol {

struct CaptureConfig {
  std::string cgroup_root;  // a cgroup2 folder, ancestor of every pod and ztunnel: the mount's root
  std::string bpffs;        // where pins are kept; a bpffs is mounted there if it is none
  std::string name;         // of the folder below it: the node's name
  // SO_NETNS_COOKIE of the node's network namespace, which the kubelet probes from.
  uint64_t node_netns_cookie = 0;
};

// A pod as the kernel programs know it.
struct CapturedPod {
  uint64_t netns_cookie = 0;
  uint32_t slot = 0;
  uint32_t flags = 0;  // weft_pod_flag
  PodAddresses addresses;
};

// One of the counters that the programs keep, summed over CPUs.
struct CaptureCount {
  std::string name;
  uint64_t value = 0;
};

// The kernel's side of capture: programs, maps, links. Everything lives in pins, so this object may
// go (or be killed) and come back without anybody noticing: open() takes over what is pinned and
// puts the present programs in place of the old ones, atomically.
//
// Not thread-safe; belongs to the agent's loop. Calls take up to some milliseconds (the verifier).
class Capture {
 public:
  // Errors are for an operator: what is missing (root, BTF, cgroup2) or in the way (another owner
  // that attached exclusively).
  static Result<std::unique_ptr<Capture>> open(const CaptureConfig& config);
  ~Capture();

  struct Target {
    int netns_fd = -1;
    uint64_t netns_cookie = 0;
    PodAddresses addresses;
    const Listeners* listeners = nullptr;
    bool open_when_empty = false;  // what happens to connections once there is no listener
    bool dns = false;              // the pod's datagram sockets are marked, and queries steered
    compile::CaptureScope scope{};
  };
  // From its return on new connections of the pod, both ways, come to the listeners. For a pod that
  // is captured already: takes the new values over, with no moment in between. kLimit where all
  // slots are taken. After an error nothing of a pod that was not captured before is left.
  Result<void> add(const Target& target);
  // From its return on new connections are not captured. What is not captured is fine.
  Result<void> remove(uint64_t netns_cookie);

  Result<std::vector<CapturedPod>> pods() const;
  std::optional<CapturedPod> find(uint64_t netns_cookie) const;
  // Cookies of the sockets in the pod's slot, by weft_listener; 0: empty.
  using SlotSockets = std::array<uint64_t, WEFT_LISTENER_KINDS>;
  SlotSockets slot_sockets(uint32_t slot) const;

  // Tasks of this cgroup are ztunnel: their connections are never captured. At most
  // WEFT_PROXIES_MAX (kLimit).
  Result<void> add_proxy(uint64_t cgroup_id);
  Result<void> remove_proxy(uint64_t cgroup_id);
  std::vector<uint64_t> proxies() const;

  // From its return on connections that tasks of this cgroup make, from the node's network
  // namespace to captured pods, go past policy to the application; no other cgroup's do any more.
  Result<void> follow_kubelet(const std::string& cgroup);
  Result<void> forget_kubelet();
  // How many connections the programs know the kubelet to have open.
  size_t open_probes() const;

  Result<std::vector<CaptureCount>> counts() const;

  // Takes everything down: links, programs, maps, pins. The object is not usable afterwards.
  Result<void> withdraw_all();

 private:
  Capture(CaptureConfig config, PinFolder pins, std::unique_ptr<CaptureObject> object);

  Result<void> attach_hooks();
  Result<void> drop_orphans();
  Result<void> deliver_to_slot(uint32_t slot, int netns_fd);
  Result<void> fill_slot(const weft_pod& pod, const Target& target);
  Result<void> clear_slot(uint32_t slot);
  Result<uint32_t> free_slot() const;
  ScopeMaps scopes() const { return {object_->maps().scope_ports, object_->maps().scope_ranges}; }

  CaptureConfig config_;
  PinFolder pins_;
  std::unique_ptr<CaptureObject> object_;
};

}  // namespace weft::enrol
