#include "agent/compile/l7/hosts.h"
#include "agent/compile/l7/http_match.h"
#include "agent/compile/l7/virtual_services.h"

namespace weft::l7 {

namespace {

namespace wire = weft::route;
using crd::networking::RouteDestination;
using crd::networking::TcpMatch;
using crd::networking::TlsMatch;
using crd::networking::VirtualService;

// Whom a VirtualService's connections go to, for one port.
struct Rules {
  const VirtualService& object;
  const Backend& service;
  uint32_t port;
  Resolver& resolver;
  wire::Port& out;

  template <class Destinations>
  wire::TcpRoute& add(const Destinations& destinations) const {
    const auto& meta = object.metadata();
    wire::TcpRoute& route = *out.add_tcp();
    route.set_origin("VirtualService " + meta.namespace_() + "/" + meta.name());
    route.mutable_forward();
    for (const RouteDestination& to : destinations) {
      if (destinations.size() > 1 && to.weight() <= 0) continue;
      auto& weighted = *route.mutable_forward()->add_destinations();
      weighted.set_weight(destinations.size() > 1 ? static_cast<uint32_t>(to.weight()) : 1);
      const auto& name = to.destination();
      *weighted.mutable_destination() = resolver.resolve(
          full_host(name.host(), meta.namespace_(), resolver.config().cluster_domain),
          name.subset(), name.port().number(), meta.namespace_(), port);
    }
    return route;
  }
};

// A waypoint does not tell clients apart.
template <class Match>
bool can_match(const Match& match, uint32_t port) {
  return (match.port() == 0 || match.port() == port) && is_for_mesh(match.gateways()) &&
         match.sourcelabels().empty() && match.sourcenamespace().empty();
}

// Only those whose SNI is the service itself: a waypoint's client has asked for the service.
void add_tls(const Rules& rules) {
  for (const auto& rule : rules.object.spec().tls()) {
    for (const TlsMatch& match : rule.match()) {
      if (!can_match(match, rules.port) || match.snihosts_size() != 1) continue;
      const std::string sni = full_host(match.snihosts(0), rules.object.metadata().namespace_(),
                                        rules.resolver.config().cluster_domain);
      if (sni != rules.service.hostname) continue;
      wire::TcpRoute& route = rules.add(rule.route());
      if (match.destinationsubnets().empty()) break;
      *route.add_matches()->mutable_destination_cidrs() = match.destinationsubnets();
      break;
    }
  }
}

void add_tcp(const Rules& rules) {
  for (const auto& rule : rules.object.spec().tcp()) {
    google::protobuf::RepeatedPtrField<wire::TcpRoute::Match> matches;
    bool everything = rule.match().empty();
    for (const TcpMatch& match : rule.match()) {
      if (!can_match(match, rules.port) || !match.sourcesubnet().empty()) continue;
      everything |= match.destinationsubnets().empty();
      *matches.Add()->mutable_destination_cidrs() = match.destinationsubnets();
    }
    if (!everything && matches.empty()) continue;
    wire::TcpRoute& route = rules.add(rule.route());
    if (everything) return;
    route.mutable_matches()->Swap(&matches);
  }
}

}  // namespace

void fill_tcp_routes(const VirtualServices& objects, const Backend& service,
                     const Backend::Port& port, Resolver& resolver, weft::route::Port& out) {
  for (const VirtualService* object : objects) {
    add_tls({*object, service, port.number, resolver, out});
  }
  for (const VirtualService* object : objects) {
    add_tcp({*object, service, port.number, resolver, out});
  }
}

}  // namespace weft::l7
