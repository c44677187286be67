#pragma once

#include "agent/compile/store.h"

#include <compare>
#include <optional>
#include <string>

namespace weft::compile {

// A waypoint: the Gateway that it is made for.
struct WaypointName {
  std::string ns;
  std::string name;
  std::string to_string() const { return ns + "/" + name; }
  auto operator<=>(const WaypointName&) const = default;
};

// The waypoint that requests to a Service, or to a ServiceEntry's hosts, pass: named by the label
// istio.io/use-waypoint of the object, or else of its namespace; "none", or no label: nothing.
std::optional<WaypointName> waypoint_of(const crd::core::Service& service, const Store& store);
std::optional<WaypointName> waypoint_of(const crd::networking::ServiceEntry& entry,
                                        const Store& store);

}  // namespace weft::compile
