#pragma once

#include "agent/compile/compiler.h"
#include "agent/control/kube/counting_client.h"
#include "agent/control/kube/election.h"
#include "agent/control/kube/root_config_maps.h"
#include "agent/control/kube/root_secret.h"
#include "agent/control/kube/token_reviewer.h"
#include "agent/control/kube/waypoints.h"
#include "agent/source/kube/kube_source.h"

#include <functional>
#include <memory>
#include <set>
#include <string>

namespace weft::control::kube {

struct ClusterOptions {
  source::kube::ConfigFlags api_server;
  std::string ns;                      // control's own
  std::string replica;                 // this one of several, as the Lease names it
  std::set<std::string> node_proxies;  // subjects: "system:serviceaccount:<ns>:<name>"
  bool keeps_root = true;              // false: an operator mounts the CA's files
  std::string ca_secret;               // that an operator may bring; empty: none is looked for
  compile::MeshConfig mesh;
  WaypointOptions waypoints;  // without an image none are made
};

// What control has of a Kubernetes cluster, and does to it: objects and statuses, who callers are,
// which replica writes, the CA's Secret and the roots in every namespace. Belongs to one loop.
class Cluster {
 public:
  struct Events {
    std::function<void(std::unique_ptr<identity::SuppliedAuthority>)> on_authority;
    std::function<void()> on_authority_change;
    std::function<void(const Error&)> on_error;
  };

  // Asks nothing of the API server yet. kInvalid: the configuration.
  static Result<std::unique_ptr<Cluster>> open(runtime::Loop& loop, const ClusterOptions& options,
                                               Events events);

  // Until stop(): everything but the source, which is to be watched by who reads it.
  runtime::Task<void> run();
  // Gives the lease back, first of all: another replica writes from then on.
  runtime::Task<void> step_down();
  void stop();

  source::Source& source() { return *source_; }
  source::StatusWriter& statuses() { return *statuses_; }
  std::shared_ptr<const identity::Authenticator> authenticator() const { return reviewer_; }
  void set_roots(std::string pem) { roots_.set_roots(std::move(pem)); }
  void set_namespace(const std::string& ns, bool wanted) { roots_.set_namespace(ns, wanted); }
  // What has changed of what is this control's to act on.
  void observe(const std::vector<source::Change>& changes) { waypoints_.observe(changes); }

  struct Status {
    bool leads = false;
    std::string leader;
    CountingClient::Counts api;
    TokenReviewer::Counts tokens;
    uint64_t statuses_written = 0;
    uint64_t roots_written = 0;
    size_t roots_foreign = 0;  // namespaces with another CA's
    uint64_t lists = 0;
  };
  Status status() const;

 private:
  Cluster(std::unique_ptr<CountingClient> client, const ClusterOptions& options, Events events);
  void lead(bool leads);

  const bool keeps_root_;
  std::unique_ptr<CountingClient> client_;
  std::unique_ptr<source::kube::KubeSource> source_;
  std::unique_ptr<source::kube::KubeStatusWriter> statuses_;
  std::shared_ptr<TokenReviewer> reviewer_;
  Election election_;
  RootSecret root_;
  RootConfigMaps roots_;
  const bool makes_waypoints_;
  Waypoints waypoints_;
  runtime::TaskScope tasks_;
  runtime::TaskScope election_task_;
};

}  // namespace weft::control::kube
