#include "ztunnel/waypoint/run_waypoint.h"

#include "ztunnel/role/run_role.h"
#include "ztunnel/runtime/socket.h"
#include "ztunnel/waypoint/config_builder.h"
#include "ztunnel/waypoint/worker.h"

#include <cstdlib>
#include <memory>
#include <optional>

namespace weft::waypoint {
namespace {

using runtime::Task;

constexpr int kBacklog = 4096;

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

// Of both families where the kernel has both.
Result<Fd> open_listener() {
  if (auto listener = runtime::listen_in(-1, {IpAddress(), hbone::kHbonePort}, kBacklog)) {
    return listener;
  }
  return runtime::listen_in(-1, {IpAddress::v4(0), hbone::kHbonePort}, kBacklog);
}

class WaypointRole final : public role::Role {
 public:
  std::string_view name() const override { return "waypoint"; }

  std::vector<weft::Flag> more_flags() const override {
    using Kind = weft::Flag::Kind;
    return {{.name = "gateway",
             .value = "NAME",
             .help = "the Gateway that it is made for, and its Service's name",
             .kind = Kind::kRequired},
            {.name = "namespace",
             .value = "NAME",
             .help = "where that Gateway is",
             .kind = Kind::kRequired},
            {.name = "service-account", .value = "NAME", .help = "as whom it runs (--gateway)"}};
  }

  Result<void> configure(const Flags& flags, size_t workers,
                         learn::LearnerConfig& config) override {
    self_.ns = flags.get("namespace");
    self_.gateway = flags.get("gateway");
    self_.pod_name = variable("POD_NAME");
    self_.service =
        self_.ns + "/" + self_.gateway + "." + self_.ns + ".svc." + flags.get("cluster-domain");
    self_.resolv_conf = flags.get("resolv-conf");
    const std::string& account = flags.get("service-account");
    self_.identity = TRY(SpiffeId::parse(
        SpiffeId{config.trust_domain, self_.ns, account.empty() ? self_.gateway : account}
            .to_string()));
    config.own_identity = self_.identity;
    config.role = "waypoint";
    config.node_name = variable("NODE_NAME");
    if (self_.pod_name.empty()) config.pod_name = self_.gateway;
    config.pod_namespace = self_.ns;
    listener_ = TRY(open_listener());
    sharing_ = std::make_shared<role::Sharing>(workers);
    builder_.emplace(self_.ns + "/" + self_.gateway, [this](std::shared_ptr<const Config> now) {
      for (Worker* worker : workers_) worker->take_config(now);
    });
    return {};
  }

  void add_metrics(telemetry::Registry& metrics) override { metrics_ = &metrics; }
  learn::MoreResources* more_resources() override { return &*builder_; }

  Result<std::unique_ptr<role::Worker>> make_worker(std::unique_ptr<runtime::Loop> loop,
                                                    learn::Learner& learner,
                                                    telemetry::Shard& metrics,
                                                    size_t number) override {
    auto worker =
        std::make_unique<Worker>(std::move(loop), learner, metrics, metrics_->add_request_shard(),
                                 self_, listener_.get(), sharing_, destinations_, number);
    workers_.push_back(worker.get());
    return worker;
  }

  Task<role::Connections> connections(runtime::Loop&) override { co_return role::Connections{}; }

 private:
  Self self_;
  telemetry::Registry* metrics_ = nullptr;
  Fd listener_;
  std::shared_ptr<role::Sharing> sharing_;
  std::shared_ptr<SharedDestinations> destinations_ = std::make_shared<SharedDestinations>();
  std::optional<ConfigBuilder> builder_;
  std::vector<Worker*> workers_;
};

}  // namespace

int run_waypoint(const std::vector<std::string>& args) {
  WaypointRole role;
  return role::run_role(role, args);
}

}  // namespace weft::waypoint
