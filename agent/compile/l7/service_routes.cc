#include "agent/compile/l7/gateway_http.h"
#include "agent/compile/l7/http_actions.h"
#include "agent/compile/l7/virtual_services.h"
#include "agent/compile/l7/waypoint_routes.h"

namespace weft::l7 {

namespace {

namespace wire = weft::route;

bool may_be_http(const Backend::Port& port) {
  return port.protocol == wire::Port::HTTP1 || port.protocol == wire::Port::HTTP2 ||
         port.protocol == wire::Port::SNIFF;
}

bool may_be_tcp(const Backend::Port& port) {
  return port.protocol == wire::Port::TCP || port.protocol == wire::Port::TLS ||
         port.protocol == wire::Port::SNIFF;
}

// Where no rule is for the port: to the service itself, as Istio's waypoints do.
void add_default_route(const Backend& service, const Backend::Port& port, wire::Port& out) {
  wire::HttpRoute& route = *out.add_http();
  route.set_name("default");
  auto& weighted = *route.mutable_forward()->add_destinations();
  weighted.set_weight(1);
  wire::Destination& destination = *weighted.mutable_destination();
  destination.set_namespace_(service.ns);
  destination.set_hostname(service.hostname);
  destination.set_port(port.number);
  if (!port.grpc) fill_default_retry(*route.mutable_retry());
}

// A waypoint takes routes of its own namespace and of the service's.
std::vector<RoutesByParent::ObjectPtr> attached_to(const Backend& service,
                                                   const compile::WaypointName& waypoint,
                                                   uint32_t port, const compile::Store& store) {
  std::vector<RoutesByParent::ObjectPtr> routes = store.gateway_routes.of(parent_key(service));
  std::erase_if(routes, [&](const RoutesByParent::ObjectPtr& route) {
    const std::string ns = route->key().ns;
    return (ns != service.ns && ns != waypoint.ns) || !is_attached(*route, service, port);
  });
  return routes;
}

}  // namespace

wire::Routes compile_routes(const Backend& service, const compile::WaypointName& waypoint,
                            Resolver& resolver) {
  wire::Routes routes;
  routes.set_namespace_(service.ns);
  routes.set_hostname(service.hostname);
  const compile::Store& store = resolver.store();
  const VirtualServices objects = virtual_services_for(service, waypoint, store, resolver.config());
  for (const Backend::Port& port : service.ports) {
    wire::Port& out = *routes.add_ports();
    out.set_port(port.number);
    out.set_protocol(port.protocol);
    const auto attached = attached_to(service, waypoint, port.number, store);
    // Which counts where both are there is not defined; here it is the Gateway API's.
    if (may_be_http(port)) {
      fill_gateway_http(attached, resolver, out);
      if (out.http().empty()) fill_http_routes(objects, port, resolver, out);
      if (out.http().empty()) add_default_route(service, port, out);
    }
    if (may_be_tcp(port)) {
      fill_gateway_tcp(attached, service, resolver, out);
      if (out.tcp().empty()) fill_tcp_routes(objects, service, port, resolver, out);
    }
  }
  return routes;
}

}  // namespace weft::l7
