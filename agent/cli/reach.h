#pragma once

#include "agent/objects/tree.h"
#include "ztunnel/base/flags.h"
#include "ztunnel/base/result.h"

#include <google/protobuf/struct.pb.h>

#include <string>
#include <vector>

namespace weft::cli {

// Weft's processes, wherever they are, asked on their admin sockets: those of a sandbox on this
// machine directly, those of a cluster by `kubectl exec` in their pods.

// --sandbox, and --kubeconfig, --context, --namespace. None of them: the sandbox where it is up, a
// cluster as kubectl finds it otherwise.
std::vector<Flag> reach_flags();

// A replica of control or the agent of a node.
struct Place {
  std::string name;     // the replica's pod, "control"; the node
  std::string process;  // how it runs: "running (pid 17)", "weft-agent-x7k2p, ready"
  std::string ztunnel;  // the same of the node's ztunnels; empty for control
  std::string address;  // internal: the socket's path, or the pod; empty: nobody to ask
};

struct Places {
  std::vector<Place> controls;
  std::vector<Place> nodes;
  std::vector<std::string> kubectl;  // internal: what execs in a pod; empty: of a sandbox
};

// Errors: no such sandbox or cluster, kubectl is not in PATH.
Result<Places> find_places(const Flags& flags);
// Of a cluster, by the list of Weft's pods in its namespace. Pure.
Places places_of(const objects::Tree& pods);

// GET of a path, several asked at once; an answer each, in the order of `asked`.
std::vector<Result<google::protobuf::Value>> ask_places(const Places& all,
                                                        const std::vector<Place>& asked,
                                                        const std::string& path);

}  // namespace weft::cli
