#pragma once

#include "agent/model/workload.h"
#include "ztunnel/base/ip.h"

#include <string>
#include <vector>

namespace weft::model {

enum class IpFamilies { kAny, kV4, kV6, kDual };

// Which of a Service's workloads a client prefers.
enum class Preference { kNone, kSameZone, kSameNode, kOnlySameNode };

struct Service {
  std::string name;
  std::string ns;
  std::string hostname;              // "<name>.<namespace>.svc.<cluster domain>"
  std::vector<IpAddress> addresses;  // virtual; none: headless
  std::vector<PortPair> ports;       // TCP
  IpFamilies families = IpFamilies::kAny;
  Preference preference = Preference::kNone;
  bool unready_too = false;

  std::string key() const { return ns + "/" + hostname; }
};

}  // namespace weft::model
