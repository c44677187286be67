#pragma once

#include "agent/source/source.h"
#include "proto/crd/mesh.pb.h"
#include "ztunnel/base/spiffe_id.h"

#include <map>
#include <memory>
#include <string>
#include <vector>

namespace weft::compile {

// One xDS resource, as it goes on the wire.
struct Resource {
  std::string type;     // "istio.workload.Address", "istio.security.Authorization", ..
  std::string name;     // xDS resource name
  std::string version;  // changes exactly when `bytes` does
  std::string bytes;    // the serialized message; empty in a removal
  bool removed = false;
};

struct MeshConfig {
  std::string trust_domain = "cluster.local";
  std::string cluster_id = "Kubernetes";
  std::string cluster_domain = "cluster.local";
  std::string root_namespace = "istio-system";
  std::string config_namespace = {};  // where config_map is; empty: the root namespace
  std::string config_map = "istio";   // "istio-<revision>" beside another control plane
  objects::Key config_key() const {
    return {"ConfigMap", config_namespace.empty() ? root_namespace : config_namespace, config_map};
  }
  // What that ConfigMap may say besides, live.
  bool registry_only = false;  // pods may only connect to what the mesh knows
  std::vector<std::string> trust_domain_aliases = {};
  std::shared_ptr<const crd::mesh::MeshConfig> written = {};  // its text; null: there is none
};

// Something that was accepted and cannot be honoured; for conditions and `weft analyze`.
struct Notice {
  objects::Key object;
  std::string message;
};

// Objects in, resources out, incrementally: apply() returns what changed, for what the change
// touches and nothing else. Pure: no I/O, no clock. Belongs to one thread.
class Compiler {
 public:
  explicit Compiler(MeshConfig config);
  ~Compiler();

  // In the order in which data planes must see them: new and changed Authorizations, then
  // Addresses, then waypoints' routes; then what is removed, the other way round.
  std::vector<Resource> apply(const std::vector<source::Change>& changes);
  // All present resources, in the same order.
  std::vector<Resource> all() const;
  std::vector<Notice> notices() const;

  // Whether a pod with this identity runs on the node: who may ask the CA for what.
  bool node_runs(const std::string& node, const SpiffeId& identity) const;
  // Whether there is a waypoint of this name, which its pods' account has, too.
  bool has_waypoint(const std::string& ns, const std::string& name) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Whether the pod is to be in the mesh: its label istio.io/dataplane-mode, its namespace's, or its
// namespace's istio-injection=enabled (but for a pod with sidecar.istio.io/inject=false); never a
// pod with hostNetwork or an istio-proxy container. `ns` null: the namespace is not known (not
// enrolled by it).
bool is_to_be_enrolled(const weft::crd::core::Pod& pod, const weft::crd::core::Namespace* ns);

// On a pod, by its node's agent: capture is live.
constexpr const char* kRedirectionAnnotation = "ambient.istio.io/redirection";
// "http": the pod terminates HBONE itself, with a certificate of its own.
constexpr const char* kTunnelLabel = "networking.istio.io/tunnel";
// "<protocol>[/port]" of a pod: what comes to it through HBONE arrives there. Istio has it on a
// Gateway, whose pods are meant; on a pod it serves a proxy that somebody runs himself.
constexpr const char* kInboundBindingAnnotation = "ambient.istio.io/waypoint-inbound-binding";

}  // namespace weft::compile
