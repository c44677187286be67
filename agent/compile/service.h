#pragma once

#include "agent/compile/compiler.h"
#include "agent/compile/store.h"
#include "agent/model/service.h"

#include <string>
#include <string_view>
#include <vector>

namespace weft::compile {

// An annotation of Services and ServiceEntries: the values of spec.trafficDistribution.
constexpr std::string_view kDistributionAnnotation = "networking.istio.io/traffic-distribution";
model::Preference preference_of(std::string_view distribution);

bool is_tcp(const std::string& protocol);
// An ExternalName: an alias in DNS, without addresses or endpoints.
bool is_alias(const crd::core::Service& object);

model::Service compile_service(const crd::core::Service& object, const MeshConfig& config);

std::string service_key(const crd::core::Service& object, const MeshConfig& config);
std::string hostname_of(const crd::core::Service& object, const MeshConfig& config);
// Whether the Service's traffic may go to a workload of its namespace with these labels.
bool has_endpoint(const crd::core::Service& object, const Labels& labels);
// The Service's TCP ports with the workload's own behind them; a named one that it does not have is
// left out.
std::vector<model::PortPair> ports_on(const crd::core::Service& object, const crd::core::Pod& pod);
std::vector<model::PortPair> ports_on(const crd::core::Service& object,
                                      const crd::networking::WorkloadEntrySpec& entry);

}  // namespace weft::compile
