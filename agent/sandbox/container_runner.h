#pragma once

#include "agent/sandbox/kubelet.h"
#include "agent/sandbox/spawn.h"
#include "proto/crd/core.pb.h"
#include "ztunnel/runtime/loop.h"

#include <google/protobuf/struct.pb.h>

#include <optional>
#include <string>

namespace weft::sandbox {

class PodRunner;

// Starts a container's program, again when it ends as restartPolicy says or fails its probes, and
// knows its state.
class ContainerRunner {
 public:
  ContainerRunner(PodRunner& pod, const crd::core::Container& container);

  // Until it need not run any more: the pod leaves, or it has ended and is not to be restarted.
  runtime::Task<void> run(bool is_init);
  void signal(int number);  // to the program, if it runs

  const crd::core::Container& container() const { return container_; }
  bool is_running() const { return running_.has_value(); }
  bool is_ready() const { return running_ && started_up_ && probed_ready_; }
  bool has_ended() const { return ended_; }
  bool has_failed() const { return ended_ && last_.status != 0; }
  bool was_started() const { return starts_ > 0; }
  const std::string& reason() const { return reason_; }
  const std::string& message() const { return message_; }
  // containerStatuses' element.
  google::protobuf::Value status() const;

 private:
  Result<void> start();
  runtime::Task<void> wait_until_ended();
  bool is_to_run_again(bool is_init) const;

  // Probes (probes.cc).
  void read_probes();
  void began();  // the program has been started
  runtime::Task<Result<void>> ask_kubelet(Probe probe);
  // Which start of the container a probe watches, and how often in a row it failed.
  struct Watched {
    int start = 0;
    int failures = 0;
  };
  runtime::Task<std::optional<Result<void>>> ask_started(Probe probe, Watched& watched);
  runtime::Task<void> watch_startup(Probe probe);
  runtime::Task<void> watch_liveness(Probe probe);
  runtime::Task<void> watch_readiness(Probe probe);
  void kill_for(const std::string& probe, const Error& why);
  void set_ready(bool ready, const std::string& why);

  PodRunner& pod_;
  crd::core::Container container_;
  std::optional<Child> running_;
  Exit last_;
  int starts_ = 0;
  bool ended_ = false;
  std::optional<Probe> readiness_;
  std::optional<Probe> liveness_;
  std::optional<Probe> startup_;
  bool probed_ready_ = true;
  bool started_up_ = true;
  std::string killed_for_;  // the probe that it failed; empty: none
  std::string reason_;      // why it does not run: CrashLoopBackOff, CreateContainerError, ..
  std::string message_;
};

}  // namespace weft::sandbox
