#pragma once

#include <string>
#include <utility>
#include <vector>

namespace weft::waypoint {

// Where something runs, as localities and failover labels say it.
struct Place {
  std::string region;
  std::string zone;
  std::string subzone;
  std::vector<std::pair<std::string, std::string>> labels;  // topology.kubernetes.io/zone, ..

  bool operator==(const Place&) const = default;
};

}  // namespace weft::waypoint
