#pragma once

#include "ztunnel/base/flags.h"
#include "ztunnel/learn/view.h"
#include "ztunnel/role/connections.h"
#include "ztunnel/runtime/loop.h"
#include "ztunnel/telemetry/metrics.h"

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace weft::role {

// One thread that carries traffic, and the loop that it runs.
class Worker {
 public:
  virtual ~Worker() = default;
  virtual void run() = 0;  // the worker's thread: until request_stop() is done
  // Any thread. Lets what is open go on for `limit` at most; `stopped` is called on the worker's
  // thread just before run() returns.
  virtual void request_stop(std::chrono::milliseconds limit, std::function<void()> stopped) = 0;
};

// What tells one role of weft-ztunnel from another. Made on the main thread, whose loop is the
// learner's; outlives the workers.
class Role {
 public:
  virtual ~Role() = default;
  virtual std::string_view name() const = 0;               // "node"
  virtual std::vector<weft::Flag> more_flags() const = 0;  // besides those that all roles have
  // Before anything else is made. `config` is filled in by the flags that all roles have.
  virtual Result<void> configure(const Flags& flags, size_t workers,
                                 learn::LearnerConfig& config) = 0;
  virtual void add_metrics(telemetry::Registry& metrics) = 0;
  // What it learns of control beside addresses and policies; null: nothing.
  virtual learn::MoreResources* more_resources() { return nullptr; }
  virtual Result<std::unique_ptr<Worker>> make_worker(std::unique_ptr<runtime::Loop> loop,
                                                      learn::Learner& learner,
                                                      telemetry::Shard& metrics, size_t number) = 0;
  // What is open now, for the admin port. On the learner's loop.
  virtual runtime::Task<Connections> connections(runtime::Loop& loop) = 0;
};

// The life of a process: flags, the learner and its loop, workers with a thread each, the admin
// port, readiness and metrics, and the drain that SIGTERM begins. The process's exit code.
int run_role(Role& role, const std::vector<std::string>& args);

}  // namespace weft::role
