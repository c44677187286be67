#pragma once

#include "agent/enrol/capture.h"
#include "ztunnel/runtime/loop.h"
#include "ztunnel/runtime/sync.h"

#include <cstdint>
#include <string>

namespace weft::enrol {

// SO_NETNS_COOKIE of the network namespace that the kubelet's processes are in; where it has none
// yet, of this process's own (an agent runs in the node's network, or beside a running kubelet).
Result<uint64_t> node_netns_cookie(const std::string& kubelet_cgroup);

// Keeps the kubelet's probes let through: finds its cgroup, again after every restart of it
// (systemd removes a service's cgroup when it stops and makes another one, with another id).
class KubeletProbes {
 public:
  // `cgroup`: a cgroup2 folder; empty: probes are like any other connection.
  KubeletProbes(runtime::Loop& loop, Capture& capture, std::string cgroup)
      : loop_(loop), capture_(capture), cgroup_(std::move(cgroup)) {}

  runtime::Task<void> run();  // until stop(); what is attached stays
  void stop();
  // For the status: "off", "let through" or what is missing.
  const std::string& state() const { return state_; }

 private:
  void look();
  void say(const std::string& state);

  runtime::Loop& loop_;
  Capture& capture_;
  std::string cgroup_;
  uint64_t followed_ = 0;  // cgroup id
  std::string state_;
  bool stopped_ = false;
  runtime::Event woken_;
};

}  // namespace weft::enrol
