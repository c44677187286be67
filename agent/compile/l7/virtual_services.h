#pragma once

#include "agent/compile/l7/resolver.h"

#include <set>
#include <string>
#include <vector>

namespace weft::l7 {

using VirtualServices = std::vector<const crd::networking::VirtualService*>;

// The whole hosts of one that is for the mesh; none of one that is not, or of a delegate.
std::set<std::string> mesh_hosts_of(const crd::networking::VirtualService& object,
                                    const std::string& cluster_domain);

// Those that are in force at the waypoint for the service: of the service's namespace and of the
// waypoint's, as far as the waypoint sees them; only those that name it most exactly; the oldest
// first.
VirtualServices virtual_services_for(const Backend& service, const compile::WaypointName& waypoint,
                                     const compile::Store& store,
                                     const compile::MeshConfig& config);

// Their rules for one port, the oldest's first, up to the first that everything matches.
void fill_http_routes(const VirtualServices& objects, const Backend::Port& port, Resolver& resolver,
                      weft::route::Port& out);
void fill_tcp_routes(const VirtualServices& objects, const Backend& service,
                     const Backend::Port& port, Resolver& resolver, weft::route::Port& out);

}  // namespace weft::l7
