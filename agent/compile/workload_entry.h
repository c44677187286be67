#pragma once

#include "agent/compile/compiler.h"
#include "agent/compile/store.h"
#include "agent/model/workload.h"

#include <optional>
#include <string>

namespace weft::compile {

std::string workload_entry_uid(const std::string& ns, const std::string& name,
                               const MeshConfig& config);

// What an endpoint says of itself, without services and policies; its uid is the caller's. Nothing
// for one that cannot be reached from here: unix://, or only behind another network's gateway.
std::optional<model::Workload> workload_from(const crd::networking::WorkloadEntrySpec& spec,
                                             const std::string& name, const std::string& ns,
                                             const MeshConfig& config);

// Nothing as above. HBONE where it is labelled networking.istio.io/tunnel=http or annotated
// ambient.istio.io/redirection=enabled.
std::optional<model::Workload> compile_workload_entry(const crd::networking::WorkloadEntry& entry,
                                                      const Store& store, const MeshConfig& config);

}  // namespace weft::compile
