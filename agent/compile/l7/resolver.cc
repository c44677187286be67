#include "agent/compile/l7/resolver.h"

namespace weft::l7 {

weft::route::Destination Resolver::resolve(const std::string& host, const std::string& subset,
                                           uint32_t port, const std::string& ns,
                                           uint32_t asked_port) {
  weft::route::Destination destination;
  hosts_.insert(host);
  const auto backend = find_backend(host, ns, store_, config_);
  if (!backend) return destination;
  backends_.insert(backend->name());
  destination.set_namespace_(backend->ns);
  destination.set_hostname(backend->hostname);
  if (!subset.empty()) {
    const auto rule = rule_for(backend->name(), asker_, store_, config_);
    destination.set_subset(rule ? subset_key(subset, rule->ns, backend->name(), config_) : subset);
  }
  if (port == 0) port = backend->ports.size() == 1 ? backend->ports.front().number : asked_port;
  destination.set_port(port);
  return destination;
}

}  // namespace weft::l7
