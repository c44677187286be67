#pragma once

#include "ztunnel/waypoint/balancer.h"
#include "ztunnel/waypoint/network.h"
#include "ztunnel/waypoint/pool.h"

#include <memory>
#include <vector>

namespace weft::waypoint {

// One destination as one worker sees it: its endpoints with their connections, and how it is
// chosen among them.
class Cluster {
 public:
  Cluster(runtime::Loop& loop, Network& network, weft::route::Destination destination);

  const weft::route::Traffic& traffic();
  // The version that it is spoken to in.
  http::Version version(http::Version client_version, bool upgrade);
  // Null: there is none.
  std::shared_ptr<Pool> choose(const Chooser& chooser);

 private:
  void refresh();

  runtime::Loop& loop_;
  Network& network_;
  weft::route::Destination destination_;
  uint64_t generation_ = 0;
  bool known_ = false;  // what the present generation says
  weft::route::Traffic traffic_;
  weft::route::Port::Protocol protocol_ = weft::route::Port::SNIFF;
  std::vector<std::shared_ptr<Pool>> pools_;
  Balancer balancer_;
};

}  // namespace weft::waypoint
