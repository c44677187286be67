#include "ztunnel/node/run_node.h"

#include "ztunnel/node/connections.h"
#include "ztunnel/node/dns_metrics.h"
#include "ztunnel/node/worker.h"
#include "ztunnel/role/run_role.h"

#include <optional>

namespace weft::node {
namespace {

class NodeRole final : public role::Role {
 public:
  std::string_view name() const override { return "node"; }

  std::vector<weft::Flag> more_flags() const override {
    using Kind = weft::Flag::Kind;
    return {
        {.name = "node", .value = "NAME", .help = "the node it runs on", .kind = Kind::kRequired},
        {.name = "zds-socket",
         .value = "PATH",
         .help = "the node agent's ZDS socket",
         .kind = Kind::kRequired},
        {.name = "snapshot", .value = "FILE", .help = "where the last configuration is kept"}};
  }

  Result<void> configure(const Flags& flags, size_t workers,
                         learn::LearnerConfig& config) override {
    config.node_name = config_.node_name = flags.get("node");
    config.zds_socket = flags.get("zds-socket");
    config.snapshot_file = flags.get("snapshot");
    config_.cluster_id = flags.get("cluster-id");
    config_.resolv_conf = flags.get("resolv-conf");
    config_.cluster_domain = flags.get("cluster-domain");
    config_.workers = workers;
    sharings_.emplace(workers);
    return {};
  }

  void add_metrics(telemetry::Registry& metrics) override {
    dns_metrics_.emplace(DnsMetrics::in(metrics));
  }

  Result<std::unique_ptr<role::Worker>> make_worker(std::unique_ptr<runtime::Loop> loop,
                                                    learn::Learner& learner,
                                                    telemetry::Shard& metrics,
                                                    size_t number) override {
    auto worker = std::make_unique<Worker>(std::move(loop), learner, metrics, *dns_metrics_,
                                           config_, *sharings_, number);
    workers_.push_back(worker.get());
    return worker;
  }

  runtime::Task<role::Connections> connections(runtime::Loop& loop) override {
    return gather_connections(loop, workers_);
  }

 private:
  NodeConfig config_;
  std::optional<role::Sharings> sharings_;
  std::optional<DnsMetrics> dns_metrics_;
  std::vector<Worker*> workers_;
};

}  // namespace

int run_node(const std::vector<std::string>& args) {
  NodeRole role;
  return role::run_role(role, args);
}

}  // namespace weft::node
