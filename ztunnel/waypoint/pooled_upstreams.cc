#include "ztunnel/waypoint/pooled_upstreams.h"

#include <array>

namespace weft::waypoint {

using runtime::Task;

std::string_view to_string(Flag flag) {
  constexpr std::array<std::string_view, 16> kLetters{"-",  "NR", "UH", "UF",  "UO", "URX",
                                                      "UT", "UR", "UC", "UPE", "DC", "DPE",
                                                      "DI", "FI", "NC", "UAEX"};
  return kLetters[static_cast<size_t>(flag)];
}

Cluster& PooledUpstreams::cluster_of(const weft::route::Destination& destination) {
  key_.clear();
  key_.append(destination.namespace_()).append("/").append(destination.hostname());
  key_.append("|").append(destination.subset()).append("|");
  const uint32_t port = destination.port();
  key_.append(reinterpret_cast<const char*>(&port), sizeof port);
  std::unique_ptr<Cluster>& cluster = clusters_[key_];
  if (!cluster)
    cluster = std::make_unique<Cluster>(loop_, network_, shared_->of(key_), destination);
  return *cluster;
}

Task<std::expected<std::unique_ptr<Try>, Failure>> PooledUpstreams::begin(
    const weft::route::Destination& destination, http::Version client_version, Chooser chooser) {
  Cluster& cluster = cluster_of(destination);
  const std::shared_ptr<Pool> pool = cluster.choose(chooser);
  if (!pool) {
    co_return std::unexpected(
        Failure{Error(Code::kUnavailable, destination.hostname() + " has no healthy endpoint"),
                Flag::kNoHealthyUpstream});
  }
  co_return co_await pool->begin(cluster.version(client_version, chooser.upgrade),
                                 cluster.traffic(), std::move(chooser.waiter));
}

const weft::route::Traffic& PooledUpstreams::traffic_of(
    const weft::route::Destination& destination) {
  return *cluster_of(destination).traffic();
}

bool PooledUpstreams::take_retry(const weft::route::Destination& destination) {
  return cluster_of(destination).take_retry();
}

void PooledUpstreams::give_retry(const weft::route::Destination& destination) {
  cluster_of(destination).give_retry();
}

}  // namespace weft::waypoint
