#pragma once

#include "ztunnel/role/run_role.h"
#include "ztunnel/role/sharing.h"
#include "ztunnel/runtime/socket.h"
#include "ztunnel/runtime/sync.h"
#include "ztunnel/waypoint/mesh_network.h"
#include "ztunnel/waypoint/pooled_upstreams.h"
#include "ztunnel/waypoint/proxy.h"
#include "ztunnel/waypoint/request_reporter.h"
#include "ztunnel/waypoint/worker_context.h"

#include <functional>
#include <memory>
#include <set>
#include <vector>

namespace weft::waypoint {

// One worker: a loop, and on it its share of the tunnels that clients opened. Everything but the
// constructor and request_stop() runs on its own thread.
class Worker final : public role::Worker, public learn::PodObserver {
 public:
  Worker(std::unique_ptr<runtime::Loop> loop, learn::Learner& learner, telemetry::Shard& metrics,
         telemetry::RequestShard& request_metrics, const Self& self, int listener,
         std::shared_ptr<role::Sharing> sharing, std::shared_ptr<SharedDestinations> destinations,
         size_t number);
  ~Worker() override;

  void run() override;
  void request_stop(std::chrono::milliseconds limit, std::function<void()> stopped) override;
  // Any thread.
  void take_config(std::shared_ptr<const Config> config);

  void pod_added(std::shared_ptr<const learn::Pod>) override {}
  void pod_removed(const std::string&) override {}
  void identity_renewed(const SpiffeId& identity) override { pool_.retire(identity); }
  void state_changed() override { network_.changed(); }
  void trust_changed() override;

  // A client's tunnel, while it is open: what ends it. Unregisters itself.
  struct Tunnel {
    Tunnel(Worker& of, std::function<void()> end);
    ~Tunnel();
    Tunnel(const Tunnel&) = delete;
    Tunnel& operator=(const Tunnel&) = delete;

    Worker& worker;
    std::function<void()> abort;
    std::function<void()> drain = {};                   // none: it is not set up yet
    std::vector<tls::CertificateId> certificates = {};  // of the peer, where CRLs are kept
  };
  WorkerContext& context() { return context_; }
  Proxy& proxy() { return proxy_; }
  Network& network() { return network_; }
  bool stopping() const { return stopping_; }

 private:
  runtime::Task<void> accepted(Fd connection);
  runtime::Task<void> serve(Fd connection);
  runtime::Task<void> stop_all(std::chrono::milliseconds limit, std::function<void()> stopped);
  template <class Call>
  void for_each_tunnel(Call call);

  std::unique_ptr<runtime::Loop> loop_;
  std::unique_ptr<learn::View> view_;
  dns::Resolver resolver_;
  hbone::Pool pool_;
  WorkerContext context_;
  MeshNetwork network_{context_};
  PooledUpstreams upstreams_;
  RequestReporter reporter_;
  Proxy proxy_;
  role::Sharing::Place place_;
  runtime::Acceptor acceptor_;
  runtime::TaskScope accepting_;
  runtime::TaskScope serving_;
  std::set<Tunnel*> tunnels_;
  bool stopping_ = false;
};

}  // namespace weft::waypoint
