#include "ztunnel/role/run_role.h"

#include "ztunnel/base/log.h"
#include "ztunnel/role/common_flags.h"
#include "ztunnel/role/endpoints.h"
#include "ztunnel/role/notify.h"
#include "ztunnel/role/start_pages.h"
#include "ztunnel/runtime/sync.h"

#include <poll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <map>
#include <thread>

namespace weft::role {
namespace {

using runtime::Loop;
using runtime::Task;
using Workers = std::vector<std::unique_ptr<Worker>>;

// More workers than this would be a mistake in the command line.
constexpr int64_t kWorkersMax = 256;

std::vector<weft::Flag> flags_of(const Role& role) {
  std::vector<weft::Flag> flags = role.more_flags();
  const std::vector<weft::Flag>& common = common_flags();
  flags.insert(flags.end(), common.begin(), common.end());
  return flags;
}

std::map<std::string, std::string> values_of(const Flags& flags, const Role& role) {
  std::map<std::string, std::string> values;
  for (const weft::Flag& flag : flags_of(role)) values[flag.name] = flags.get(flag.name);
  return values;
}

// Connections are descriptors: take all that the system lets us have.
void raise_file_limit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

Result<size_t> worker_count(const Flags& flags) {
  const int64_t workers = TRY(flags.number("workers", 0, kWorkersMax));
  return workers > 0 ? static_cast<size_t>(workers)
                     : std::max(1U, std::thread::hardware_concurrency());
}

Result<Workers> make_workers(Role& role, const Flags& flags, size_t count, learn::Learner& learner,
                             telemetry::Registry& metrics) {
  Workers workers;
  for (size_t number = 0; number < count; ++number) {
    std::unique_ptr<Loop> loop = TRY(make_loop(flags));
    workers.push_back(TRY(role.make_worker(std::move(loop), learner, metrics.add_shard(), number)));
  }
  return workers;
}

// Before anything else is begun: an accidental second ztunnel must not touch what the first has.
Task<void> listen_first(Loop& loop, Endpoints& endpoints, bool takeover, Result<void>& done) {
  done = co_await endpoints.listen(takeover);
  loop.stop();
}

Task<void> run_learner(learn::Learner& learner) { co_await learner.run(); }

// For who started us and waits before it ends our predecessor: sd_notify(3).
Task<void> tell_when_ready(Loop& loop, const learn::Learner& learner, const bool& ending) {
  constexpr std::chrono::milliseconds kLookEvery{10};
  while (!ending && !not_ready_because(learner.status()).empty()) co_await loop.sleep(kLookEvery);
  if (!ending) notify_service_manager("READY=1");
}

// After the first connections to control and the first keys.
constexpr std::chrono::seconds kStartTakes{5};

void forget_the_start() {
  if (const auto dropped = drop_start_pages(); !dropped) {
    log::debug("ztunnel").field("error", dropped.error().to_string()).say("the start's pages stay");
  }
}

// Ends things in the order in which they were made, once a signal has asked for it.
struct Shutdown {
  Loop& loop;
  int signals;
  std::chrono::seconds drain_time;
  learn::Learner& learner;
  Endpoints& endpoints;
  Workers& workers;
  runtime::TaskScope& tasks;
  bool ending = false;
  size_t running = 0;
  runtime::Event stopped = {};

  Task<void> run() {
    co_await loop.poll(signals, POLLIN);
    ending = true;
    notify_service_manager("STOPPING=1");
    log::info("ztunnel")
        .field("drain_s", drain_time.count())
        .say("signal received: accepting nothing more, letting connections end");
    co_await endpoints.stop();  // first: a ztunnel that takes over waits for the ports
    learner.drain();
    running = workers.size();
    for (const auto& worker : workers) {
      worker->request_stop(drain_time, [this] {
        loop.post([this] {
          if (--running == 0) stopped.set();
        });
      });
    }
    if (running > 0) co_await stopped.wait();
    learner.stop();
    co_await tasks.join();
    loop.stop();
  }
};

Fd block_signals() {
  std::signal(SIGPIPE, SIG_IGN);  // a peer that is gone is told by the call's result
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  pthread_sigmask(SIG_BLOCK, &set, nullptr);  // inherited by the workers
  return Fd(signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC));
}

Result<void> run(Role& role, const Flags& flags) {
  TRY(set_log_level(flags));
  const int64_t drain_s = TRY(flags.number("drain-time", 0, 24 * 3600));
  const size_t count = TRY(worker_count(flags));
  learn::LearnerConfig learner_config = TRY(common_config(flags));
  TRY(role.configure(flags, count, learner_config));
  raise_file_limit();
  const Fd signals = block_signals();

  telemetry::Registry metrics;
  metrics.add_process_metrics("ztunnel", "weft");
  role.add_metrics(metrics);
  std::unique_ptr<Loop> loop = TRY(make_loop(flags));
  auto learner = TRY(learn::Learner::make(*loop, std::move(learner_config), role.more_resources()));
  Workers workers;
  Endpoints endpoints(*loop, metrics,
                      {.learner = *learner,
                       .quit = [] { kill(getpid(), SIGTERM); },
                       .connections = [&] { return role.connections(*loop); },
                       .config = values_of(flags, role)});
  Result<void> listening;
  loop->spawn(listen_first(*loop, endpoints, flags.has("takeover"), listening));
  loop->run();
  TRY(std::move(listening));
  workers = TRY(make_workers(role, flags, count, *learner, metrics));

  std::vector<std::thread> threads;
  for (const auto& worker : workers) {
    threads.emplace_back([raw = worker.get()] { raw->run(); });
  }
  runtime::TaskScope tasks;
  tasks.spawn(run_learner(*learner));
  endpoints.start();
  Shutdown shutdown{*loop,   signals.get(), std::chrono::seconds(drain_s), *learner, endpoints,
                    workers, tasks};
  loop->spawn(shutdown.run());
  tasks.spawn(tell_when_ready(*loop, *learner, shutdown.ending));
  loop->schedule(kStartTakes, forget_the_start);
  log::info("ztunnel")
      .bare("role", role.name())
      .bare("backend", runtime::to_string(loop->backend()))
      .field("workers", static_cast<int64_t>(workers.size()))
      .say("started");
  loop->run();
  for (std::thread& thread : threads) thread.join();
  return {};
}

}  // namespace

int run_role(Role& role, const std::vector<std::string>& args) {
  const std::string command = "weft-ztunnel " + std::string(role.name());
  const auto flags = Flags::parse(args, flags_of(role));
  if (!flags) {
    std::fprintf(stderr, "%s: %s\n", command.c_str(), flags.error().to_string().c_str());
    return 2;
  }
  if (flags->help()) {
    std::fputs(Flags::help_text(command, flags_of(role)).c_str(), stdout);
    return 0;
  }
  if (const auto ran = run(role, *flags); !ran) {
    std::fprintf(stderr, "%s: %s\n", command.c_str(), ran.error().to_string().c_str());
    return 1;
  }
  return 0;
}

}  // namespace weft::role
