#pragma once

#include "agent/objects/tree.h"
#include "ztunnel/base/flags.h"
#include "ztunnel/base/result.h"

#include <string>
#include <vector>

namespace weft::cli {

// What control made on a cluster beside its release, and that an uninstallation leaves for the next
// one: the CA's own Secret and the lease in --namespace, ConfigMap istio-ca-root-cert everywhere.

// Removes it, once no pod of Weft is left that would make it again. The cluster is the one that the
// flags name. Returns the paths of what is gone. kTimeout: pods did not end in time.
Result<std::vector<std::string>> purge(const Flags& flags);

// The paths of those of a list of ConfigMaps that control wrote last: others' (an istiod's,
// istio-csr's) stay. Pure.
std::vector<std::string> root_config_maps_of_ours(const objects::Tree& list);

}  // namespace weft::cli
