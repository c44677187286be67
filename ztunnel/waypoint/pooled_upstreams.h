#pragma once

#include "ztunnel/runtime/loop.h"
#include "ztunnel/waypoint/cluster.h"
#include "ztunnel/waypoint/network.h"
#include "ztunnel/waypoint/upstreams.h"

#include <memory>
#include <string>
#include <unordered_map>

namespace weft::waypoint {

// Clusters by destination, made when a request first asks for one.
class PooledUpstreams final : public Upstreams {
 public:
  // `shared`: what this worker shares with the process's other ones.
  PooledUpstreams(
      runtime::Loop& loop, Network& network,
      std::shared_ptr<SharedDestinations> shared = std::make_shared<SharedDestinations>())
      : loop_(loop), network_(network), shared_(std::move(shared)) {}

  runtime::Task<std::expected<std::unique_ptr<Try>, Failure>> begin(
      const weft::route::Destination& destination, http::Version client_version,
      Chooser chooser) override;
  const weft::route::Traffic& traffic_of(const weft::route::Destination& destination) override;
  bool take_retry(const weft::route::Destination& destination) override;
  void give_retry(const weft::route::Destination& destination) override;

 private:
  Cluster& cluster_of(const weft::route::Destination& destination);

  runtime::Loop& loop_;
  Network& network_;
  std::shared_ptr<SharedDestinations> shared_;
  std::unordered_map<std::string, std::unique_ptr<Cluster>> clusters_;
  std::string key_;  // is made here, so that looking one up allocates nothing
};

}  // namespace weft::waypoint
