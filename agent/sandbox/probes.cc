#include "agent/sandbox/container_runner.h"
#include "agent/sandbox/pod_runner.h"
#include "ztunnel/base/log.h"

#include <signal.h>

namespace weft::sandbox {

namespace {

// While it is not ready yet it is asked more often than periodSeconds: nobody likes to wait.
constexpr std::chrono::milliseconds kUnreadyPeriod{250};

}  // namespace

void ContainerRunner::read_probes() {
  const crd::core::Pod& pod = pod_.pod();
  readiness_ = parse_probe(container_.readinessprobe(), pod);
  liveness_ = parse_probe(container_.livenessprobe(), pod);
  startup_ = parse_probe(container_.startupprobe(), pod);
}

runtime::Task<Result<void>> ContainerRunner::ask_kubelet(Probe probe) {
  const IpAddress ip = CO_TRY(IpAddress::parse(pod_.pod().status().podip()));
  Cluster& cluster = pod_.cluster();
  co_return co_await ask_by_kubelet(cluster.loop,
                                    kubelet_socket(cluster.layout, pod_.pod().spec().nodename()),
                                    SocketAddress{ip, probe.port}, probe);
}

void ContainerRunner::began() {
  probed_ready_ = !readiness_;
  started_up_ = !startup_;
  killed_for_.clear();
}

void ContainerRunner::kill_for(const std::string& probe, const Error& why) {
  killed_for_ = probe + " probe failed: " + why.to_string();
  log::warn("kubelet").field("pod", pod_.pod().metadata().name()).say(killed_for_);
  signal(SIGKILL);
}

void ContainerRunner::set_ready(bool ready, const std::string& why) {
  const std::string message =
      ready ? "" : "container " + container_.name() + ": readiness probe failed: " + why;
  if (ready == probed_ready_ && message == message_) return;
  probed_ready_ = ready;
  message_ = message;
  pod_.publish();
}

// Each loops until the container need not run any more. What is answered about a container that has
// been started again meanwhile is not held against the new one.

runtime::Task<void> ContainerRunner::watch_startup(Probe probe) {
  runtime::Loop& loop = pod_.cluster().loop;
  int start = 0;
  auto began_at = loop.now();
  while (!pod_.leaving() && !ended_) {
    if (std::exchange(start, starts_) != starts_) began_at = loop.now();
    if (running_ && !started_up_) {
      const Result<void> passed = co_await ask_kubelet(probe);
      const bool is_same = running_ && start == starts_;
      const auto limit = probe.initial_delay + probe.period * probe.failure_threshold;
      if (is_same && passed) started_up_ = true;
      if (is_same && !passed && loop.now() - began_at > limit) kill_for("startup", passed.error());
    }
    co_await pod_.pause(kUnreadyPeriod);
  }
}

// What a probe of the container that runs now says; nothing where none runs, or another one by
// then.
runtime::Task<std::optional<Result<void>>> ContainerRunner::ask_started(Probe probe,
                                                                        Watched& watched) {
  if (std::exchange(watched.start, starts_) != starts_) {
    watched.failures = 0;
    co_await pod_.pause(probe.initial_delay);
  }
  if (!running_ || !started_up_) co_return std::nullopt;
  const Result<void> passed = co_await ask_kubelet(probe);
  watched.failures = passed ? 0 : watched.failures + 1;
  if (!running_ || watched.start != starts_) co_return std::nullopt;
  co_return passed;
}

runtime::Task<void> ContainerRunner::watch_liveness(Probe probe) {
  Watched watched;
  while (!pod_.leaving() && !ended_) {
    const auto passed = co_await ask_started(probe, watched);
    if (passed && watched.failures >= probe.failure_threshold) {
      kill_for("liveness", passed->error());
      watched.failures = 0;
    }
    co_await pod_.pause(running_ && started_up_ ? probe.period : kUnreadyPeriod);
  }
}

runtime::Task<void> ContainerRunner::watch_readiness(Probe probe) {
  Watched watched;
  while (!pod_.leaving() && !ended_) {
    const auto passed = co_await ask_started(probe, watched);
    if (passed && *passed) {
      set_ready(true, "");
    } else if (passed && (!probed_ready_ || watched.failures >= probe.failure_threshold)) {
      set_ready(false, passed->error().to_string());
    }
    co_await pod_.pause(is_ready() ? probe.period : kUnreadyPeriod);
  }
}

}  // namespace weft::sandbox
