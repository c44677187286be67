#pragma once

#include "agent/objects/tree.h"
#include "agent/source/kube/config.h"
#include "ztunnel/base/flags.h"
#include "ztunnel/base/result.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace weft::cli {

// --kubeconfig and --context, for commands that ask an API server.
const std::vector<Flag>& cluster_flags();

// The API server that the flags name, or that kubectl would ask ($KUBECONFIG, ~/.kube/config).
Result<source::kube::ApiConfig> cluster_config(const Flags& flags);

// Asks it for each of the paths in turn. The outer error: it cannot be asked at all; an inner one:
// it did not answer that path with success.
Result<std::vector<Result<objects::Tree>>> ask_cluster(const Flags& flags,
                                                       const std::vector<std::string>& paths);

// One Deployment or DaemonSet of Weft, and how far it is.
struct Component {
  std::string kind;
  std::string ns;
  std::string name;
  std::string version;
  std::string image;  // of its first container
  int64_t wanted = 0;
  int64_t ready = 0;
  int64_t updated = 0;  // run the newest template

  bool is_ready() const { return wanted > 0 && ready >= wanted && updated >= wanted; }
};

// Where they are asked for: everywhere, or in one namespace.
std::string components_path(std::string_view plural, std::string_view ns = {});
// Of the answer to such a path. `kind`: "Deployment" or "DaemonSet".
std::vector<Component> components_in(const objects::Tree& list, const std::string& kind);

// COMPONENT, NAMESPACE, READY, VERSION, IMAGE.
std::string components_table(const std::vector<Component>& components);

// What would keep Weft from running on the cluster, or is to be known before. Pure.
struct Verdict {
  bool is_fatal = false;
  std::string what;
};
// The answers to /version, /api/v1/nodes and to istiod's Deployments in all namespaces.
std::vector<Verdict> judge_cluster(const objects::Tree& version, const objects::Tree& nodes,
                                   const objects::Tree& istiods);

}  // namespace weft::cli
