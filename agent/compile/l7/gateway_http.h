#pragma once

#include "agent/compile/l7/gateway_parents.h"
#include "agent/compile/l7/resolver.h"

#include <string>

namespace weft::l7 {

// A route of the Gateway API, for what it refers to.
struct RouteObject {
  std::string kind;  // "HTTPRoute"
  std::string ns;
  std::string name;
  std::string to_string() const { return kind + " " + ns + "/" + name; }
};

// The rules of HTTPRoutes and GRPCRoutes in the order that the Gateway API prescribes: the most
// exact path first, then those with a method, with more headers, with more query parameters, of the
// older route. `routes`: attached to the port, the oldest first.
void fill_gateway_http(const std::vector<RoutesByParent::ObjectPtr>& routes, Resolver& resolver,
                       weft::route::Port& out);
// Of TCPRoutes and TLSRoutes: the oldest one's first rule.
void fill_gateway_tcp(const std::vector<RoutesByParent::ObjectPtr>& routes, const Backend& service,
                      Resolver& resolver, weft::route::Port& out);

// Where a BackendRef sends requests. Without a host (requests get 500) where there is no such
// service or port, or where it is in another namespace that has not granted it.
weft::route::Destination resolve_ref(const crd::gateway_api::BackendRef& ref,
                                     const RouteObject& route, Resolver& resolver);
// Whether a ReferenceGrant of the other namespace lets the route name what is there.
bool is_granted(const RouteObject& route, const std::string& group, const std::string& kind,
                const std::string& ns, const std::string& name, const compile::Store& store);

// Filters of a rule, or of one backend. False: one of them is not known, and requests must not pass
// as if it were not there.
using Filters = google::protobuf::RepeatedPtrField<crd::gateway_api::RouteFilter>;
bool fill_rule_filters(const Filters& filters, const RouteObject& object, Resolver& resolver,
                       weft::route::HttpRoute& out);
bool fill_backend_filters(const Filters& filters, weft::route::Forward::Weighted& out);

}  // namespace weft::l7
