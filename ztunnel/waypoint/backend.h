#pragma once

#include "proto/route.pb.h"
#include "ztunnel/waypoint/outlier.h"
#include "ztunnel/waypoint/place.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace weft::waypoint {

// One endpoint, as balancing sees it.
struct Backend {
  std::string name;  // "ip:port": what rings are made of
  uint32_t weight = 1;
  Place place;
  Clock::time_point since;                 // it has been known: warm-up begins here
  std::shared_ptr<EndpointHealth> health;  // null: never ejected
  const size_t* active = nullptr;          // exchanges under way; null: nobody counts
};

// Hosts that are alike to a client, out of which one algorithm chooses.
struct Group {
  uint32_t weight = 1;        // among those of its level
  std::vector<size_t> hosts;  // indexes
};

// Groups of one priority: the next level gets what this one cannot take.
struct Level {
  std::vector<Group> groups;
};

// The levels and groups that a policy makes of the hosts, for a client at `own`, as Istio does:
// weights of localities (distribute) make one level; labels (failover_priority) or localities make
// levels where failures are looked at at all (`detects_failures`); else all hosts are alike. No
// level and no group is empty.
std::vector<Level> arrange(const std::vector<Backend>& hosts, const weft::route::Locality& policy,
                           bool detects_failures, const Place& own);

}  // namespace weft::waypoint
