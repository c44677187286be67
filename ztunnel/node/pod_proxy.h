#pragma once

#include "ztunnel/dns/resolver.h"
#include "ztunnel/hbone/pool.h"
#include "ztunnel/learn/view.h"
#include "ztunnel/role/endpoint_memory.h"
#include "ztunnel/role/handshakes.h"
#include "ztunnel/role/memory_trimmer.h"
#include "ztunnel/role/report.h"
#include "ztunnel/role/sharing.h"
#include "ztunnel/runtime/socket.h"
#include "ztunnel/runtime/sync.h"

#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <unordered_set>
#include <utility>

namespace weft::node {

using role::Direction;
using role::Flag;
using role::Report;

class DnsSocket;
struct DnsMetrics;
class PodProxy;

// How long a new connection waits for what it cannot do without: the first configuration, its own
// workload, its certificate. Istio's ztunnel waits as long; then the connection is refused.
constexpr std::chrono::seconds kConfigurationWait{5};
constexpr std::chrono::seconds kIdentityWait{10};
constexpr std::chrono::seconds kHandshakeTimeout{10};
constexpr std::chrono::seconds kApplicationConnectTimeout{10};
constexpr std::chrono::seconds kLookUpTimeout{5};  // of a workload that is known by a host name
// How long the listeners of an agent that has restarted are still accepted from: nothing new
// arrives there once the new ones are in force, so this only has to cover what was queued.
constexpr std::chrono::seconds kListenerHandover{5};

// SO_MARK of the leg to the application: what carries it, and by tcp_fwmark_accept the
// application's answers, over the pod's loopback (reference: capture-edges.md D). Above
// kPortShift is the port that the application is to see, where that is not the leg's own.
constexpr uint32_t kInnerLegMark = 0x539;
constexpr uint32_t kPortShift = 16;
// The same number on every connection that leaves a redirected pod for us: its agent's rules let
// what carries it pass (reference: ztunnel 1.0).
constexpr uint32_t kPassMark = 0x539;

struct NodeConfig {
  std::string node_name;
  std::string cluster_id = "Kubernetes";
  std::string resolv_conf = "/etc/resolv.conf";  // who is asked for workloads' host names
  std::string cluster_domain = "cluster.local";
  size_t workers = 1;
};

// What the proxies of one worker share. Lives as long as the worker.
struct WorkerContext {
  runtime::Loop& loop;
  learn::View& view;
  telemetry::Shard& metrics;
  const NodeConfig& config;
  std::mt19937_64 random;
  role::EndpointMemory endpoint_memory;
  role::Handshakes handshakes;
  // The proxy of a pod of this node by its workload's uid; null where it is not ours.
  std::function<PodProxy*(const learn::Workload&)> local_proxy;
  // Of workloads that are known by a host name. Asks from ztunnel's own network namespace: what one
  // pod can do to its own network must not decide where others are sent.
  dns::Resolver resolver;
  size_t worker = 0;  // its number, below NodeConfig::workers
  role::Sharings& sharings;
  const DnsMetrics* dns_metrics = nullptr;
  role::MemoryTrimmer memory = {};
};

// One pod on one worker: accepts from the pod's listeners and serves what comes, or what another
// worker hands over. Every worker has one of each pod, so a busy pod may use all cores. Belongs to
// the worker's thread.
class PodProxy {
 public:
  PodProxy(WorkerContext& context, std::shared_ptr<const learn::Pod> pod);
  ~PodProxy();  // stop() must have completed

  void start();
  // The same pod with new listeners: its agent has restarted. The old ones are served on until what
  // was queued on them is taken; connections that are open are not touched.
  void adopt(std::shared_ptr<const learn::Pod> pod);
  // Accepts nothing more, tells peers so (GOAWAY), lets what is open go on for `limit` at most,
  // then breaks it for `reason`, and returns when all of it has ended.
  runtime::Task<void> stop(std::chrono::milliseconds limit, Error reason);
  // Of one that stops: breaks what is open before the limit. May end it.
  void break_all(const Error& reason);
  // How a relay of this pod's ended: `broken`, or else the reason why all of it was broken.
  const std::optional<Error>& end_of(const std::optional<Error>& broken) const {
    return broken && broken_ ? broken_ : broken;
  }
  void retire(const SpiffeId& identity) { pool_.retire(identity); }

  WorkerContext& context() { return context_; }
  const learn::Pod& pod() const { return *listeners_.back()->pod; }
  hbone::Pool& pool() { return pool_; }
  bool stopping() const { return stopping_; }
  // Whether its agent captures DNS: the pod's queries are answered here, not carried.
  bool answers_dns() const { return pod().answers_dns; }
  // SO_MARK of what leaves the pod for it.
  uint32_t mark() const { return pod().redirected ? kPassMark : 0; }

  // Connects to the pod's own application as `client` (port 0: any port of that address).
  runtime::Task<Result<std::unique_ptr<runtime::SocketStream>>> dial_application(
      SocketAddress client, SocketAddress application);
  // The same where the client's own connection ends in the pod, so that its 4-tuple is taken: from
  // another port, where the agent lets the application see the client's.
  runtime::Task<Result<std::unique_ptr<runtime::SocketStream>>> dial_beside(
      SocketAddress client, SocketAddress application);
  // Connects from where the pod stands.
  runtime::Task<Result<std::unique_ptr<runtime::SocketStream>>> dial_from_pod(SocketAddress to);

  // Connections that are open now; a Report is one. Reports keep it.
  std::unordered_set<const Report*>& open_connections() { return open_connections_; }
  role::Reporting reporting() { return {context_.loop, context_.metrics, open_connections_}; }

  // Tunnels of peers that have been revoked are broken, in both directions.
  void break_revoked(const tls::RevocationList& revoked);
  // Connections to this pod are judged again by a new state; what is no longer allowed is broken.
  void rejudge(const learn::State& state);

  // A connection to this pod. Registered before it is first judged, so that no change of policy
  // falls between that and its opening. Unregisters itself.
  class Judged {
   public:
    // `certificates`: of the peer, where it came through a tunnel and CRLs are kept.
    Judged(PodProxy& proxy, policy::Connection connection,
           std::vector<tls::CertificateId> certificates = {});
    ~Judged();
    Judged(const Judged&) = delete;
    Judged& operator=(const Judged&) = delete;
    // The first judgement, by the present state.
    Result<void> judge(const learn::Workload& own);
    // From now on a change that refuses it calls this.
    void on_rejection(std::function<void()> abort) {
      abort_ = std::move(abort);
      if (rejected_) abort_();  // meanwhile
    }
    // Why it is not allowed any more, if that is how it ended.
    const std::optional<Error>& rejected() const { return rejected_; }

   private:
    friend class PodProxy;
    PodProxy& proxy_;
    policy::Connection connection_;
    std::vector<tls::CertificateId> certificates_;
    std::function<void()> abort_;
    std::optional<Error> rejected_;
  };

  // Whoever works inside this pod: stop(), and with it the proxy's end, waits until the last one
  // has left. Held for as long as anything of the proxy is used across an await.
  class Guest {
   public:
    explicit Guest(PodProxy& proxy) : proxy_(&proxy) {
      ++proxy.guests_;
      proxy.context_.memory.connection_opened();
    }
    Guest(Guest&& other) noexcept : proxy_(std::exchange(other.proxy_, nullptr)) {}
    Guest& operator=(Guest&&) = delete;
    ~Guest();

   private:
    PodProxy* proxy_;
  };

  // A tunnel that others opened to this pod, for break_revoked(). Unregisters itself.
  struct InboundTunnel {
    InboundTunnel(PodProxy& of, std::vector<tls::CertificateId> peers, std::function<void()> end);
    ~InboundTunnel();
    InboundTunnel(const InboundTunnel&) = delete;
    InboundTunnel& operator=(const InboundTunnel&) = delete;

    PodProxy& proxy;
    std::vector<tls::CertificateId> certificates;
    std::function<void()> abort;
  };

  // Something that stop() must be able to break, held by a guest. Unregisters itself.
  class Breakable {
   public:
    // `drain`, where there is one, is called when stop() begins.
    Breakable(PodProxy& proxy, std::function<void()> abort, std::function<void()> drain = {});
    ~Breakable();
    Breakable(const Breakable&) = delete;
    Breakable& operator=(const Breakable&) = delete;

   private:
    friend class PodProxy;
    PodProxy& proxy_;
    std::function<void()> abort_;
    std::function<void()> drain_;
  };

 private:
  struct Listeners {
    Listeners(PodProxy& proxy, std::shared_ptr<const learn::Pod> of);
    ~Listeners();
    void stop();
    std::shared_ptr<const learn::Pod> pod;
    std::vector<std::unique_ptr<runtime::Acceptor>> acceptors;
    std::vector<std::unique_ptr<DnsSocket>> dns;
  };
  template <class Test>
  void reject(Test why);
  void for_each_breakable(std::function<void()> Breakable::* call);
  runtime::Task<void> retire_listeners(Listeners& listeners);
  runtime::Task<void> accepted(bool outbound, Fd connection);
  runtime::Task<void> serve(role::Sharing::Kind kind, Fd connection);  // as a guest

  WorkerContext& context_;
  hbone::Pool pool_;
  role::Sharing::Place place_;
  std::vector<std::unique_ptr<Listeners>> listeners_;  // the last is the present one
  runtime::TaskScope acceptors_;
  std::set<Breakable*> breakables_;
  std::set<Judged*> judged_;
  std::unordered_set<const Report*> open_connections_;
  std::set<InboundTunnel*> tunnels_;
  size_t guests_ = 0;
  runtime::Event quiet_;  // woken when a stopping proxy's last guest has left
  bool stopping_ = false;
  std::optional<Error> broken_;  // why everything is, or was, broken
};

// One captured connection of the pod's own processes.
runtime::Task<void> serve_outbound(PodProxy& proxy, Fd connection);
// One connection from outside the pod: HBONE on port 15008, plain text elsewhere.
runtime::Task<void> serve_inbound(PodProxy& proxy, Fd connection);

}  // namespace weft::node
