#pragma once

#include "ztunnel/base/fd.h"
#include "ztunnel/learn/state.h"
#include "ztunnel/runtime/loop.h"
#include "ztunnel/tls/tls_stream.h"

#include <array>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

// The seam between learning (one thread: xDS, CA, ZDS) and carrying (the workers). The learner
// posts what is new to each worker's loop; a worker's View keeps the latest and answers without a
// lock.

namespace weft::learn {

// The sockets of a pod: as proto/zds.proto's Listener tells apart those that our agent opens, then
// those that only a redirected pod has.
enum class ListenerKind : uint8_t {
  kInboundV4,
  kOutboundV4,
  kInboundV6,
  kOutboundV6,
  kDnsV4,  // datagrams, unlike the others
  kDnsV6,
  kInboundPlainV4,  // kInboundV4 is that of tunnels alone then
  kInboundPlainV6,
  kDnsStreamV4,
  kDnsStreamV6,
};
constexpr size_t kListenerKinds = 10;

// A pod of this node, as the agent handed it over. The descriptors stay open while anyone holds it.
struct Pod {
  std::string uid;
  std::string name;
  std::string ns;
  std::string service_account;
  Fd netns;
  // Those of IPv4 TCP are always there; of the others what the agent could open, and serves.
  std::array<Fd, kListenerKinds> listeners;
  bool answers_dns = false;        // its agent captures DNS: queries over TCP are answered, too
  bool peer_port_by_mark = false;  // as proto/zds.proto has it
  // Its agent (Istio's istio-cni) gave no sockets: it redirects the pod's connections by netfilter
  // to ports that ztunnel opens in the pod (redirected.h).
  bool redirected = false;

  const Fd& listener(ListenerKind kind) const { return listeners[static_cast<size_t>(kind)]; }
  Fd& listener(ListenerKind kind) { return listeners[static_cast<size_t>(kind)]; }
};

// Told on the worker's own thread.
class PodObserver {
 public:
  virtual ~PodObserver() = default;
  // A uid that is there already comes again where its agent has restarted: the same pod and network
  // namespace, new listeners. Serve both: what was queued on the old ones is still to be taken, and
  // connections that are open are not touched.
  virtual void pod_added(std::shared_ptr<const Pod> pod) = 0;
  virtual void pod_removed(const std::string& uid) = 0;
  // The credentials of an identity were replaced: new tunnels use the new ones.
  virtual void identity_renewed(const SpiffeId& identity) = 0;
  // View::state() has a successor: what is open is to be judged again.
  virtual void state_changed() {}
  // View::trust() has a successor: tunnels of peers that were revoked are to be closed.
  virtual void trust_changed() {}
};

// One worker's view. Made by the learner for a worker's loop; every call is for that loop's thread.
// Nobody may wait in it when it is destroyed; waits are bounded by their limits.
class View {
 public:
  virtual ~View() = default;

  virtual std::shared_ptr<const State> state() const = 0;
  // What TLS takes into account beside the roots; context_for()'s contexts heed it. Good until the
  // next turn of the loop.
  virtual const tls::Trust& trust() const = 0;
  // Waits until the first complete set of Addresses and Authorizations is there (or a snapshot of
  // an earlier run is), at most `limit`: kTimeout.
  virtual runtime::Task<Result<std::shared_ptr<const State>>> ready_state(
      std::chrono::milliseconds limit) = 0;
  // The pod's own workload, waiting for control to announce it, at most `limit`: kTimeout.
  virtual runtime::Task<Result<std::shared_ptr<const Workload>>> workload_of(
      const Pod& pod, std::chrono::milliseconds limit) = 0;
  // A TLS context that proves `identity`, waiting for the CA where there is none yet, at most
  // `limit`. kRefused or kUnavailable with the CA's own words where it said no.
  virtual runtime::Task<Result<std::shared_ptr<tls::Context>>> context_for(
      SpiffeId identity, std::chrono::milliseconds limit) = 0;
  // Present pods are told at once, from within this call.
  virtual void observe(PodObserver* observer) = 0;
};

class MoreResources;

struct LearnerConfig {
  // Without a node agent: the identity of the process itself, which asks for no other. The node's
  // name is then a label.
  std::optional<SpiffeId> own_identity;
  std::string role = "ztunnel";  // as xDS names it
  std::string node_name;
  std::string cluster_id = "Kubernetes";
  std::string network;  // ours, as control names it; empty: of a mesh that has only one
  std::string trust_domain = "cluster.local";
  std::string control_address;      // "ip:port" of xDS and CA
  std::string control_server_name;  // what its certificate must prove
  std::string control_roots_file;   // PEM, read again at each connect
  // Another server of the CA protocol (istio-csr); empty: control. Its roots are then the mesh's.
  std::string ca_address;
  std::string ca_server_name;
  std::string ca_roots_file;  // empty: control's
  std::string token_file;     // bearer token, read again at each request
  std::string zds_socket;     // unix SOCK_SEQPACKET of the node agent
  std::string snapshot_file;  // empty: none is kept
  std::string crl_file;       // CRLs, PEM or DER; empty: none
  std::vector<std::string> trust_domain_aliases;
  std::chrono::seconds certificate_ttl{24 * 3600};
  // The ztunnel itself, as it names itself to control. Empty: $POD_NAME, $POD_NAMESPACE and
  // $INSTANCE_IP, or else "ztunnel-<node>", "istio-system" and the address it reaches control from.
  std::string pod_name;
  std::string pod_namespace;
  std::string pod_ip;
};

// What readiness and `weft status` show.
struct LearnerStatus {
  bool control_connected = false;
  bool agent_connected = false;  // and its snapshot of pods is complete
  bool has_agent = true;         // false: there is none to be connected to
  bool configuration_complete = false;
  bool from_snapshot = false;
  size_t pods = 0;
  size_t workloads = 0;
  size_t services = 0;
  size_t policies = 0;
  std::string last_error;      // the latest reason why control or the agent cannot be reached
  std::string snapshot_error;  // why the configuration is not kept on disk; empty: it is
  struct Certificate {
    SpiffeId identity;
    std::string serial;
    std::chrono::system_clock::time_point not_after;
    std::string state;  // "available", "waiting", "failed: ..."
  };
  std::vector<Certificate> certificates;
};

// Owns the learning thread's tasks; lives on `loop`. Views must be made before run(), and their
// loops must not go before run() has ended.
class Learner {
 public:
  // `more`: what else is asked of control; null: nothing. Outlives the learner.
  static Result<std::unique_ptr<Learner>> make(runtime::Loop& loop, LearnerConfig config,
                                               MoreResources* more = nullptr);
  virtual ~Learner() = default;
  virtual std::unique_ptr<View> make_view(runtime::Loop& worker) = 0;
  virtual runtime::Task<void> run() = 0;  // until stop()
  virtual void stop() = 0;                // the learner's thread only
  // This ztunnel is about to end, and another may be taking over: no identity is asked for or
  // parked any more. The learner's thread only.
  virtual void drain() = 0;
  virtual LearnerStatus status() const = 0;  // the learner's thread only
  // What /config_dump shows; the learner's thread only. State is what was last published.
  virtual std::shared_ptr<const State> state() const = 0;
  virtual std::vector<std::shared_ptr<const Pod>> pods() const = 0;
  virtual std::vector<std::shared_ptr<const tls::Credentials>> credentials() const = 0;
};

}  // namespace weft::learn
