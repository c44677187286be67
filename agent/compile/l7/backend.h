#pragma once

#include "agent/compile/compiler.h"
#include "agent/compile/store.h"
#include "agent/compile/waypoint_binding.h"
#include "proto/route.pb.h"

#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace weft::l7 {

using Name = std::pair<std::string, std::string>;  // namespace and host name

// Something that requests can be sent to, as routes see it: a Service, or a host of a ServiceEntry.
struct Backend {
  struct Port {
    uint32_t number = 0;
    std::string name;
    weft::route::Port::Protocol protocol = weft::route::Port::SNIFF;
    bool grpc = false;
  };
  std::string ns;
  std::string hostname;
  std::string object;  // its Service's or ServiceEntry's name
  std::vector<Port> ports;
  const crd::core::Service* service = nullptr;
  const crd::networking::ServiceEntry* entry = nullptr;
  Name name() const { return {ns, hostname}; }
};

// By the namespace that it is of; nothing where nobody has that host there.
std::optional<Backend> backend_of(const Name& name, const compile::Store& store,
                                  const compile::MeshConfig& config);
// As a rule means it that is in force in namespace `ns`: a Service of the cluster, or the host of a
// ServiceEntry of that namespace, or else of the first other one.
std::optional<Backend> find_backend(const std::string& host, const std::string& ns,
                                    const compile::Store& store, const compile::MeshConfig& config);

std::optional<compile::WaypointName> waypoint_of(const Backend& backend,
                                                 const compile::Store& store);

}  // namespace weft::l7
