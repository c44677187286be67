#pragma once

#include "agent/compile/compiler.h"
#include "agent/compile/store.h"

#include <string>

namespace weft::compile {

// Whether a pod may only connect to what the mesh knows (outboundTrafficPolicy REGISTRY_ONLY). The
// Sidecar decides that selects the pod, or else the namespace's, or else the root namespace's, each
// without a workloadSelector, the oldest where there are several; where it says nothing of it, the
// mesh's configuration does.
bool is_registry_only(const std::string& ns, const Labels& labels, const Store& store,
                      const MeshConfig& config);

// Whether it is the object that holds the mesh's configuration.
inline bool is_mesh_config(const MeshConfig& config, const objects::Key& key) {
  return key.kind == "ConfigMap" && key == config.config_key();
}

// The mesh's configuration: what was given to the process, changed by its ConfigMap where there is
// one.
MeshConfig configured(const MeshConfig& given, const Store& store);

}  // namespace weft::compile
