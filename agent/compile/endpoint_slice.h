#pragma once

#include "agent/compile/compiler.h"
#include "agent/compile/store.h"
#include "agent/model/workload.h"

#include <string>
#include <vector>

namespace weft::compile {

// The name of the Service whose endpoints it lists; empty where it is labelled with none.
std::string service_name_of(const crd::core::EndpointSlice& slice);

// The endpoints of a Service without a selector: those of others are the pods themselves.
std::vector<model::Workload> compile_slice(const crd::core::EndpointSlice& slice,
                                           const Store& store, const MeshConfig& config);

}  // namespace weft::compile
