#include "ztunnel/waypoint/cluster.h"

#include <algorithm>
#include <utility>

namespace weft::waypoint {

Cluster::Cluster(runtime::Loop& loop, Network& network, weft::route::Destination destination)
    : loop_(loop), network_(network), destination_(std::move(destination)) {}

const weft::route::Traffic& Cluster::traffic() {
  refresh();
  return traffic_;
}

http::Version Cluster::version(http::Version client_version, bool upgrade) {
  using weft::route::Limits;
  using weft::route::Port;
  if (upgrade) return http::Version::kHttp11;
  refresh();
  switch (traffic_.limits().upgrade()) {
    case Limits::HTTP2:
      return http::Version::kHttp2;
    case Limits::HTTP1:
      return http::Version::kHttp11;
    case Limits::AS_CLIENT:
      return client_version;
    default:
      break;
  }
  if (protocol_ == Port::HTTP2) return http::Version::kHttp2;
  return protocol_ == Port::HTTP1 ? http::Version::kHttp11 : client_version;
}

std::shared_ptr<Pool> Cluster::choose(const Chooser& chooser) {
  refresh();
  const size_t index = balancer_.choose(pools_, traffic_.balancing(), chooser);
  return index < pools_.size() ? pools_[index] : nullptr;
}

// Endpoints that stay keep their connections.
void Cluster::refresh() {
  if (known_ && generation_ == network_.generation()) return;
  known_ = true;
  generation_ = network_.generation();
  const weft::route::Traffic* traffic = network_.traffic(destination_);
  traffic_ = traffic == nullptr ? weft::route::Traffic() : *traffic;
  protocol_ = network_.protocol(destination_);
  std::vector<std::shared_ptr<Pool>> pools;
  for (Host& endpoint : network_.endpoints(destination_)) {
    const auto same = std::ranges::find_if(pools_, [&](const std::shared_ptr<Pool>& pool) {
      return pool != nullptr && pool->host().name == endpoint.name &&
             pool->host().workload == endpoint.workload;
    });
    pools.push_back(same == pools_.end()
                        ? std::make_shared<Pool>(loop_, network_, std::move(endpoint))
                        : std::exchange(*same, nullptr));
  }
  for (const std::shared_ptr<Pool>& gone : pools_) {
    if (gone) gone->clear();
  }
  pools_ = std::move(pools);
}

}  // namespace weft::waypoint
