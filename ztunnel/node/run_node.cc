#include "ztunnel/node/run_node.h"

#include "ztunnel/base/flags.h"
#include "ztunnel/base/log.h"
#include "ztunnel/node/dns_metrics.h"
#include "ztunnel/node/endpoints.h"
#include "ztunnel/node/notify.h"
#include "ztunnel/node/worker.h"

#include <poll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <map>
#include <thread>

namespace weft::node {
namespace {

using runtime::Loop;
using runtime::Task;

// More workers than this on one node would be a mistake in the command line.
constexpr int64_t kWorkersMax = 256;

const std::vector<weft::Flag>& known_flags() {
  using Kind = weft::Flag::Kind;
  static const std::vector<weft::Flag> flags{
      {.name = "node", .value = "NAME", .help = "the node it runs on", .kind = Kind::kRequired},
      {.name = "control",
       .value = "IP:PORT",
       .help = "xDS, and the CA unless --ca-address says otherwise",
       .kind = Kind::kRequired},
      {.name = "control-name",
       .value = "NAME",
       .help = "what control's certificate must prove",
       .kind = Kind::kRequired},
      {.name = "control-roots",
       .value = "FILE",
       .help = "roots to verify control by (PEM)",
       .kind = Kind::kRequired},
      {.name = "ca-address", .value = "IP:PORT", .help = "another server of the CA protocol"},
      {.name = "ca-name",
       .value = "NAME",
       .help = "what its certificate must prove (--control-name)"},
      {.name = "ca-roots",
       .value = "FILE",
       .help = "roots to verify it by, which are the mesh's (--control-roots)"},
      {.name = "token",
       .value = "FILE",
       .help = "bearer token for control",
       .kind = Kind::kRequired},
      {.name = "zds-socket",
       .value = "PATH",
       .help = "the node agent's ZDS socket",
       .kind = Kind::kRequired},
      {.name = "snapshot", .value = "FILE", .help = "where the last configuration is kept"},
      {.name = "workers", .value = "N", .help = "worker threads; 0: one a core", .fallback = "0"},
      {.name = "backend", .value = "uring|epoll|best", .help = "event loop", .fallback = "best"},
      {.name = "trust-domain", .value = "NAME", .fallback = "cluster.local"},
      {.name = "trust-domain-aliases",
       .value = "NAME,..",
       .help = "clients of these are accepted, too"},
      {.name = "crl",
       .value = "FILE",
       .help = "certificates in these CRLs (PEM, or one in DER) are refused; followed"},
      {.name = "cluster-domain",
       .value = "NAME",
       .help = "the DNS domain of the cluster's services",
       .fallback = "cluster.local"},
      {.name = "cluster-id", .value = "NAME", .fallback = "Kubernetes"},
      {.name = "resolv-conf",
       .value = "FILE",
       .help = "whom to ask for workloads that are host names",
       .fallback = "/etc/resolv.conf"},
      {.name = "network",
       .value = "NAME",
       .help = "ours, where control names networks; workloads of others are refused",
       .fallback = ""},
      {.name = "certificate-ttl",
       .value = "SECONDS",
       .help = "lifetime to ask the CA for",
       .fallback = "86400"},
      {.name = "drain-time",
       .value = "SECONDS",
       .help = "how long connections may go on after SIGTERM",
       .fallback = "5"},
      {.name = "takeover",
       .help = "another ztunnel serves this network namespace and is about to end: take its ports "
               "when it does",
       .kind = Kind::kSwitch},
      {.name = "log-level", .value = "error|warn|info|debug", .fallback = "info"},
  };
  return flags;
}

Result<void> set_log_level(const std::string& name) {
  const std::optional<log::Level> level = log::parse_level(name);
  if (!level) {
    return fail(Code::kInvalid,
                "--log-level: expected error, warn, info or debug, got \"" + name + "\"");
  }
  log::set_level(*level);
  return {};
}

std::map<std::string, std::string> values_of(const Flags& flags) {
  std::map<std::string, std::string> values;
  for (const weft::Flag& flag : known_flags()) values[flag.name] = flags.get(flag.name);
  return values;
}

Result<std::unique_ptr<Loop>> make_loop(const std::string& backend) {
  if (backend == "best") return Loop::create_best();
  if (backend == "uring") return Loop::create(runtime::Backend::kUring);
  if (backend == "epoll") return Loop::create(runtime::Backend::kEpoll);
  return fail(Code::kInvalid, "--backend: expected uring, epoll or best, got \"" + backend + "\"");
}

// A node's connections are descriptors: take all that the system lets us have.
void raise_file_limit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

// "fd00::1:15012" as "[fd00::1]:15012": what a pod's environment makes of $(HOST):15012 in an IPv6
// cluster.
std::string with_brackets(const std::string& address) {
  const size_t last = address.rfind(':');
  if (last == std::string::npos || address.find(':') == last || address.contains('[')) {
    return address;
  }
  return "[" + address.substr(0, last) + "]" + address.substr(last);
}

learn::LearnerConfig learner_config(const Flags& flags, int64_t certificate_ttl_s) {
  learn::LearnerConfig config;
  config.node_name = flags.get("node");
  config.cluster_id = flags.get("cluster-id");
  config.network = flags.get("network");
  config.trust_domain = flags.get("trust-domain");
  config.control_address = with_brackets(flags.get("control"));
  config.control_server_name = flags.get("control-name");
  config.control_roots_file = flags.get("control-roots");
  config.ca_address = flags.get("ca-address");
  config.ca_server_name = flags.get("ca-name");
  config.ca_roots_file = flags.get("ca-roots");
  config.token_file = flags.get("token");
  config.zds_socket = flags.get("zds-socket");
  config.snapshot_file = flags.get("snapshot");
  config.crl_file = flags.get("crl");
  config.trust_domain_aliases = flags.list("trust-domain-aliases");
  config.certificate_ttl = std::chrono::seconds(certificate_ttl_s);
  return config;
}

Result<NodeConfig> node_config(const Flags& flags) {
  NodeConfig config;
  config.node_name = flags.get("node");
  config.cluster_id = flags.get("cluster-id");
  config.resolv_conf = flags.get("resolv-conf");
  config.cluster_domain = flags.get("cluster-domain");
  const int64_t workers = TRY(flags.number("workers", 0, kWorkersMax));
  config.workers = workers > 0 ? static_cast<size_t>(workers)
                               : std::max(1U, std::thread::hardware_concurrency());
  return config;
}

Result<std::vector<std::unique_ptr<Worker>>> make_workers(
    const Flags& flags, learn::Learner& learner, telemetry::Registry& metrics,
    const DnsMetrics& dns_metrics, const NodeConfig& config, Sharings& sharings) {
  std::vector<std::unique_ptr<Worker>> workers;
  for (size_t number = 0; number < config.workers; ++number) {
    std::unique_ptr<Loop> loop = TRY(make_loop(flags.get("backend")));
    workers.push_back(std::make_unique<Worker>(std::move(loop), learner, metrics.add_shard(),
                                               dns_metrics, config, sharings, number));
  }
  return workers;
}

// Before anything else is begun: an accidental second ztunnel must not touch the first one's pods.
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

// Ends things in the order in which they were made, once a signal has asked for it.
struct Shutdown {
  Loop& loop;
  int signals;
  std::chrono::seconds drain_time;
  learn::Learner& learner;
  Endpoints& endpoints;
  std::vector<std::unique_ptr<Worker>>& workers;
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

Result<void> run(const Flags& flags) {
  TRY(set_log_level(flags.get("log-level")));
  const int64_t drain_s = TRY(flags.number("drain-time", 0, 24 * 3600));
  const int64_t ttl_s = TRY(flags.number("certificate-ttl", 1, 90 * 24 * 3600));
  raise_file_limit();
  std::signal(SIGPIPE, SIG_IGN);  // a peer that is gone is told by the call's result
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  pthread_sigmask(SIG_BLOCK, &set, nullptr);  // inherited by the workers
  const Fd signals(signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC));

  const NodeConfig config = TRY(node_config(flags));
  telemetry::Registry metrics;
  metrics.add_process_metrics("ztunnel", "weft");
  const DnsMetrics dns_metrics = DnsMetrics::in(metrics);
  std::unique_ptr<Loop> loop = TRY(make_loop(flags.get("backend")));
  auto learner = TRY(learn::Learner::make(*loop, learner_config(flags, ttl_s)));
  Sharings sharings(config.workers);
  std::vector<std::unique_ptr<Worker>> workers;
  Endpoints endpoints(*loop, metrics,
                      {.learner = *learner,
                       .quit = [] { kill(getpid(), SIGTERM); },
                       .connections = [&] { return gather_connections(*loop, workers); },
                       .config = values_of(flags)});
  Result<void> listening;
  loop->spawn(listen_first(*loop, endpoints, flags.has("takeover"), listening));
  loop->run();
  TRY(std::move(listening));
  workers = TRY(make_workers(flags, *learner, metrics, dns_metrics, config, sharings));

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
  log::info("ztunnel")
      .bare("node", config.node_name)
      .bare("backend", runtime::to_string(loop->backend()))
      .field("workers", static_cast<int64_t>(workers.size()))
      .say("started");
  loop->run();
  for (std::thread& thread : threads) thread.join();
  return {};
}

}  // namespace

int run_node(const std::vector<std::string>& args) {
  const auto flags = Flags::parse(args, known_flags());
  if (!flags) {
    std::fprintf(stderr, "weft-ztunnel node: %s\n", flags.error().to_string().c_str());
    return 2;
  }
  if (flags->help()) {
    std::fputs(Flags::help_text("weft-ztunnel node", known_flags()).c_str(), stdout);
    return 0;
  }
  if (const auto ran = run(*flags); !ran) {
    std::fprintf(stderr, "weft-ztunnel node: %s\n", ran.error().to_string().c_str());
    return 1;
  }
  return 0;
}

}  // namespace weft::node
