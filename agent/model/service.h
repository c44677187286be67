#pragma once

#include "agent/model/workload.h"
#include "ztunnel/base/ip.h"

#include <optional>
#include <string>
#include <vector>

namespace weft::model {

enum class IpFamilies { kAny, kV4, kV6, kDual };

// Which of a Service's workloads a client prefers. Passthrough: none of them, its traffic goes to
// where the client wanted to go.
enum class Preference { kNone, kSameZone, kSameNode, kOnlySameNode, kPassthrough };

struct ServicePort {
  std::string name;
  PortPair ports;
  bool operator==(const ServicePort&) const = default;
};

// A Kubernetes Service, or one host of a ServiceEntry.
struct Service {
  std::string name;
  std::string ns;
  std::string hostname;            // of a Service "<name>.<namespace>.svc.<cluster domain>"
  std::vector<Cidr> addresses;     // virtual, also whole ranges; none: headless
  std::vector<ServicePort> ports;  // TCP
  IpFamilies families = IpFamilies::kAny;
  Preference preference = Preference::kNone;
  bool unready_too = false;
  uint32_t affinity_timeout_s = 0;  // clients stay with an endpoint; 0: they do not
  std::string external_name;        // an alias in DNS, without addresses or endpoints
  std::vector<std::string> subject_alt_names;
  bool only_own_namespace = false;  // hidden from clients of other namespaces
  bool canonical = true;            // what Kubernetes itself knows
  std::optional<Waypoint> waypoint;  // of what is sent to its addresses

  std::string key() const { return ns + "/" + hostname; }
};

}  // namespace weft::model
