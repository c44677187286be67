#pragma once

#include "agent/compile/compiler.h"
#include "agent/compile/store.h"
#include "agent/model/service.h"

#include <optional>
#include <string>

namespace weft::compile {

// Nothing for an ExternalName: it is an alias in DNS, not an address.
std::optional<model::Service> compile_service(const crd::core::Service& object,
                                              const MeshConfig& config);

std::string service_key(const crd::core::Service& object, const MeshConfig& config);
// Whether the Service's traffic may go to the pod.
bool has_endpoint(const crd::core::Service& object, const crd::core::Pod& pod);
// The Service's TCP ports with the pod's own behind them; a named one that the pod does not have is
// left out.
std::vector<model::PortPair> ports_on(const crd::core::Service& object, const crd::core::Pod& pod);

}  // namespace weft::compile
