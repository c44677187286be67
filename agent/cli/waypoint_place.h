#pragma once

#include "agent/objects/tree.h"
#include "ztunnel/base/flags.h"
#include "ztunnel/base/result.h"

#include <memory>
#include <string>
#include <vector>

namespace weft::cli {

// Where `weft waypoint` finds Gateways and puts them: a cluster's API server, or a sandbox. One
// request each.
class WaypointPlace {
 public:
  virtual ~WaypointPlace() = default;
  // The Gateway API's Gateways as the server has them; `ns` empty: of all namespaces.
  virtual Result<std::vector<objects::Tree>> gateways(const std::string& ns) = 0;
  // Makes the Gateway, or changes it.
  virtual Result<void> apply(const objects::Tree& gateway) = 0;
  // kNotFound: it is not there.
  virtual Result<void> remove(const std::string& ns, const std::string& name) = 0;
  // A namespace's labels. kNotFound: there is none of this name.
  virtual Result<objects::Tree> labels_of(const std::string& ns) = 0;
  virtual Result<void> label(const std::string& ns, const std::string& key,
                             const std::string& value) = 0;
};

// The sandbox where --sandbox is given, else the cluster of --kubeconfig and --context.
Result<std::unique_ptr<WaypointPlace>> open_waypoint_place(const Flags& flags);

}  // namespace weft::cli
