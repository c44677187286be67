#pragma once

#include "agent/compile/store.h"
#include "agent/model/workload.h"

#include <string>
#include <string_view>

namespace weft::compile {

// "region/zone/subzone"; what is missing stays empty.
model::Locality parse_locality(std::string_view text);

// Where a node stands, by its labels topology.kubernetes.io/region, topology.kubernetes.io/zone and
// topology.istio.io/subzone; nothing of a node that is not known.
model::Locality locality_of_node(const std::string& node, const Store& store);

// Where a pod stands: its own label istio-locality ("region.zone.subzone", or with '/'), or else
// its node's locality.
model::Locality locality_of(const crd::core::Pod& pod, const Store& store);

}  // namespace weft::compile
