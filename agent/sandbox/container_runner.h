#pragma once

#include "agent/sandbox/spawn.h"
#include "proto/crd/core.pb.h"
#include "ztunnel/runtime/loop.h"

#include <google/protobuf/struct.pb.h>

#include <chrono>
#include <optional>
#include <string>

namespace weft::sandbox {

class PodRunner;

// How a kubelet asks whether a container is ready: tcpSocket or httpGet of readinessProbe, asked
// from inside the pod's network namespace, so that no policy is in the way.
struct ReadinessProbe {
  uint16_t port = 0;
  std::string path;  // empty: a connection is enough
  std::chrono::milliseconds initial_delay{0};
  std::chrono::milliseconds period{10'000};
};
// Absent: no probe, or one of another kind (exec, grpc), which is then taken as ready.
std::optional<ReadinessProbe> readiness_probe_of(const crd::core::Container& container,
                                                 const crd::core::Pod& pod);

// Asks once, from inside a network namespace.
runtime::Task<bool> answers_probe(runtime::Loop& loop, int netns_fd, SocketAddress address,
                                  ReadinessProbe how);

// Starts a container's program, again when it ends as restartPolicy says, and knows its state.
class ContainerRunner {
 public:
  ContainerRunner(PodRunner& pod, const crd::core::Container& container);

  // Until it need not run any more: the pod leaves, or it has ended and is not to be restarted.
  runtime::Task<void> run(bool is_init);
  // Asks until run() has ended.
  runtime::Task<void> probe(ReadinessProbe how);
  void signal(int number);  // to the program, if it runs

  const crd::core::Container& container() const { return container_; }
  bool is_running() const { return running_.has_value(); }
  bool is_ready() const { return running_ && probed_ready_; }
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

  PodRunner& pod_;
  crd::core::Container container_;
  std::optional<Child> running_;
  Exit last_;
  int starts_ = 0;
  bool ended_ = false;
  bool probed_ready_ = true;
  std::string reason_;  // why it does not run: CrashLoopBackOff, CreateContainerError, ..
  std::string message_;
};

}  // namespace weft::sandbox
