#pragma once

#include "agent/compile/compiler.h"
#include "agent/compile/store.h"
#include "agent/model/workload.h"

#include <compare>
#include <optional>
#include <string>
#include <string_view>

namespace weft::compile {

// Classes of Gateways that are waypoints. Istio's is ours where no istiod claims it.
constexpr std::string_view kIstioWaypointClass = "istio-waypoint";
constexpr std::string_view kWaypointClass = "weft-waypoint";
constexpr uint16_t kHbonePort = 15008;

constexpr const char* kUseWaypointLabel = "istio.io/use-waypoint";
constexpr const char* kUseWaypointNamespaceLabel = "istio.io/use-waypoint-namespace";
constexpr const char* kWaypointForLabel = "istio.io/waypoint-for";
// On everything that is made for a Gateway: its name.
constexpr const char* kGatewayNameLabel = "gateway.networking.k8s.io/gateway-name";

// A waypoint: the Gateway that it is made for.
struct WaypointName {
  std::string ns;
  std::string name;
  std::string to_string() const { return ns + "/" + name; }
  auto operator<=>(const WaypointName&) const = default;
};

bool is_waypoint(const crd::gateway_api::Gateway& gateway);

// What a waypoint stands before, by its label istio.io/waypoint-for.
struct WaypointFor {
  bool services = false;
  bool workloads = false;
};
WaypointFor waypoint_for(const crd::gateway_api::Gateway& gateway);

// The waypoint that requests to a Service, or to a ServiceEntry's hosts, pass, or that those to a
// workload's own address pass: named by the label istio.io/use-waypoint of the object, or else of
// its namespace; "none", or no label: nothing. Nothing for a waypoint's own Service and pods
// either, or where the Gateway is for the other kind. A Gateway that is not there counts: what is
// to pass a waypoint never goes past it.
std::optional<WaypointName> waypoint_of(const crd::core::Service& service, const Store& store);
std::optional<WaypointName> waypoint_of(const crd::networking::ServiceEntry& entry,
                                        const Store& store);
std::optional<WaypointName> waypoint_of(const crd::core::Pod& pod, const Store& store);
std::optional<WaypointName> waypoint_of(const crd::networking::WorkloadEntry& entry,
                                        const Store& store);

// The same as ztunnels are told it.
template <class Object>
std::optional<model::Waypoint> waypoint_address(const Object& object, const Store& store,
                                                const MeshConfig& config) {
  const auto name = waypoint_of(object, store);
  if (!name) return std::nullopt;
  return model::Waypoint{name->ns, name->name + "." + name->ns + ".svc." + config.cluster_domain,
                         kHbonePort};
}

// Whether a waypoint serves services of this namespace: its own, and those that allowedRoutes of
// one of its listeners lets in.
bool is_let_in(const crd::gateway_api::Gateway& gateway, const std::string& ns, const Store& store);

// Whether the labels of an object, or those of its namespace, name the waypoint.
bool names_waypoint(const crd::core::ObjectMeta& meta, const Store& store,
                    const WaypointName& waypoint);

}  // namespace weft::compile
