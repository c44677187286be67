#pragma once

#include "agent/objects/report.h"
#include "proto/crd/core.pb.h"
#include "proto/crd/mesh.pb.h"
#include "ztunnel/base/result.h"

#include <string_view>

namespace weft::objects {

// The ConfigMap that holds the mesh's configuration, and the key in its data.
constexpr std::string_view kMeshConfigMap = "istio";
constexpr const char* kMeshConfigKey = "mesh";

// "istio", or "istio-<revision>".
bool is_mesh_config_map(std::string_view name);

// The YAML text of a MeshConfig. Every mistake is reported, unknown fields too: a misspelled policy
// would silently be none.
crd::mesh::MeshConfig read_mesh_config(std::string_view text, Report& report);

// The MeshConfig in a ConfigMap that was validated; absent fields where it holds none.
crd::mesh::MeshConfig mesh_config_of(const crd::core::ConfigMap& object);

}  // namespace weft::objects
