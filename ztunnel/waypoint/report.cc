#include "ztunnel/waypoint/report.h"

#include <utility>

namespace weft::waypoint {

Arrival Arrival::at(std::string service, uint16_t port) {
  Arrival arrival;
  const size_t slash = service.find('/');
  arrival.straight.set_namespace_(service.substr(0, slash));
  if (slash != std::string::npos) arrival.straight.set_hostname(service.substr(slash + 1));
  arrival.straight.set_port(port);
  arrival.service = std::move(service);
  arrival.port = port;
  return arrival;
}

}  // namespace weft::waypoint
