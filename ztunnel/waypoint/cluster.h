#pragma once

#include "ztunnel/waypoint/backend_balancer.h"
#include "ztunnel/waypoint/network.h"
#include "ztunnel/waypoint/pool.h"
#include "ztunnel/waypoint/shared.h"

#include <memory>
#include <random>
#include <vector>

namespace weft::waypoint {

// One destination as one worker sees it: its endpoints with their connections, and how it is
// chosen among them.
class Cluster {
 public:
  Cluster(runtime::Loop& loop, Network& network, std::shared_ptr<SharedDestination> shared,
          weft::route::Destination destination);

  // As it is now: who holds it keeps it.
  std::shared_ptr<const weft::route::Traffic> traffic();
  // The version that it is spoken to in.
  http::Version version(http::Version client_version, bool upgrade);
  // Null: there is none that is healthy.
  std::shared_ptr<Pool> choose(const Chooser& chooser);
  bool take_retry();
  void give_retry();

 private:
  void refresh();
  void take_endpoints(std::vector<Host> hosts);
  Wish wish_of(const Chooser& chooser) const;

  runtime::Loop& loop_;
  Network& network_;
  const std::shared_ptr<SharedDestination> shared_;
  weft::route::Destination destination_;
  uint64_t generation_ = 0;
  bool known_ = false;               // what the present generation says
  uint64_t outlier_generation_ = 0;  // that the balancer has seen
  std::shared_ptr<const weft::route::Traffic> traffic_;
  weft::route::Port::Protocol protocol_ = weft::route::Port::SNIFF;
  std::vector<std::shared_ptr<Pool>> pools_;  // as the balancer's backends
  Place own_place_;
  BackendBalancer balancer_;
  std::mt19937_64 random_{std::random_device{}()};
  Dice dice_ = [this] { return random_(); };
};

}  // namespace weft::waypoint
