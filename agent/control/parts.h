#pragma once

#include "agent/control/ca_service.h"
#include "agent/control/control.h"
#include "agent/control/endpoint.h"
#include "agent/control/grpc_server.h"
#include "agent/control/kube/cluster.h"
#include "agent/control/mesh.h"
#include "agent/control/metrics.h"
#include "agent/control/scope.h"
#include "agent/control/server_tls.h"
#include "agent/identity/plugged_ca.h"
#include "agent/xds/server.h"
#include "ztunnel/base/fd.h"

#include <csignal>
#include <memory>
#include <vector>

namespace weft::control {

// What control ends by.
inline sigset_t end_signals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  return signals;
}

// In the order in which they are made; what a part uses stands above it.
struct Control::Parts {
  explicit Parts(const Options& with)
      : options(with),
        mesh(with.mesh),
        scope({.mesh = with.mesh, .revision = with.revision, .own_namespace = with.ns}) {}

  const Options options;
  Mesh mesh;
  Scope scope;
  SourceErrors source_errors;
  PushTimes pushes;
  bool is_serving = false;  // the port is open
  bool is_ending = false;
  bool has_failed = false;
  std::unique_ptr<runtime::Loop> loop;
  Fd signals;
  std::unique_ptr<identity::Authority> authority;  // on a cluster null until its Secret is there
  identity::PluggedAuthority* plugged = nullptr;   // the same, where an operator mounts it
  std::unique_ptr<source::Source> folder;
  std::unique_ptr<source::StatusWriter> folder_statuses;
  std::unique_ptr<kube::Cluster> cluster;  // null: objects come from a folder
  std::shared_ptr<const identity::Authenticator> authenticator;
  source::Source* source = nullptr;          // the folder's or the cluster's
  source::StatusWriter* statuses = nullptr;  // the same
  std::vector<std::unique_ptr<Endpoint>> endpoints;
  std::unique_ptr<xds::Server> xds;
  std::unique_ptr<ServerTls> tls;
  std::unique_ptr<CaService> ca;  // null while, or where, control signs nothing
  GrpcServer grpc;
};

}  // namespace weft::control
