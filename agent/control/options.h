#pragma once

#include "agent/compile/compiler.h"
#include "agent/source/kube/config.h"
#include "ztunnel/base/flags.h"
#include "ztunnel/base/ip.h"
#include "ztunnel/base/result.h"

#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace weft::control {

// The command line of `weft-agent control`, checked as far as the command line alone allows.
struct Options {
  // Exactly one of these says where objects come from.
  std::string objects_folder;
  source::kube::ConfigFlags api_server;
  std::string state_folder;
  std::string ca_certs_folder;  // empty: control makes a root of its own
  std::string ca_secret;        // that an operator may bring; empty: none
  // Holds tls.crt and tls.key. Not empty: control signs nothing, another server of the CA protocol
  // does, and control's own certificate comes from outside, too.
  std::string serving_cert_folder;
  SocketAddress listen;
  std::vector<std::string> server_names;
  std::string token_key_file;  // of who signs nodes' tokens, where no API server is asked
  std::string admin_socket;
  std::optional<SocketAddress> probes;   // GET /ready
  std::optional<SocketAddress> metrics;  // GET /metrics
  // On a cluster.
  std::string ns;                                  // control's own
  std::string replica;                             // this one of several
  std::string revision;                            // empty: acts on all objects
  std::vector<std::string> trusted_node_accounts;  // "ns/name"
  std::string waypoint_image;                      // empty: control makes no waypoints
  std::string waypoint_pull_policy;
  std::vector<std::string> waypoint_pull_secrets;
  std::vector<std::string> waypoint_flags;  // of weft-ztunnel waypoint, as the chart sets them
  compile::MeshConfig mesh;

  static const std::vector<Flag>& known_flags();
  // kInvalid, naming the flag. `variable` gives what POD_NAME and POD_NAMESPACE say: the fallback
  // of
  // --replica and --namespace.
  using Variable = std::function<std::string(const char* name)>;
  static Result<Options> from(const Flags& flags, const Variable& variable = process_variable);
  static std::string process_variable(const char* name);
};

}  // namespace weft::control
