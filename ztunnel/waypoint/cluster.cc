#include "ztunnel/waypoint/cluster.h"

#include <algorithm>
#include <utility>

namespace weft::waypoint {

Cluster::Cluster(runtime::Loop& loop, Network& network, std::shared_ptr<SharedDestination> shared,
                 weft::route::Destination destination)
    : loop_(loop),
      network_(network),
      shared_(std::move(shared)),
      destination_(std::move(destination)) {}

std::shared_ptr<const weft::route::Traffic> Cluster::traffic() {
  refresh();
  return traffic_;
}

http::Version Cluster::version(http::Version client_version, bool upgrade) {
  using weft::route::Limits;
  using weft::route::Port;
  if (upgrade) return http::Version::kHttp11;
  refresh();
  switch (traffic_->limits().upgrade()) {
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
  const Clock::time_point now = loop_.now();
  shared_->outliers.tick(now);
  if (const uint64_t seen = shared_->outliers.generation(); seen != outlier_generation_) {
    outlier_generation_ = seen;
    balancer_.refresh(now, dice_);
  }
  const auto index = balancer_.choose(wish_of(chooser), now, dice_);
  return index ? pools_[*index] : nullptr;
}

Wish Cluster::wish_of(const Chooser& chooser) const {
  using weft::route::Balancing;
  Wish wish;
  const Balancing& policy = traffic_->balancing();
  const bool hashes =
      policy.algorithm() == Balancing::RING_HASH || policy.algorithm() == Balancing::MAGLEV;
  if (hashes && chooser.affinity != nullptr) {
    Affinity& affinity = *chooser.affinity;
    if (!affinity.key) {
      affinity.key =
          routing::hash_key(policy.hash_on(), affinity.request, affinity.client, affinity.dice);
    }
    wish.hash = affinity.key->hash;
  }
  if (chooser.avoid != nullptr) wish.avoid = *chooser.avoid;
  wish.other_places = chooser.other_localities;
  wish.exactly = chooser.original;
  return wish;
}

bool Cluster::take_retry() {
  refresh();
  Usage& usage = shared_->usage;
  const uint32_t most = retries_max(traffic_->limits(), usage);
  const uint32_t before = usage.retries.fetch_add(1, std::memory_order_relaxed);
  if (most == 0 || before < most) return true;
  give_retry();
  return false;
}

void Cluster::give_retry() { shared_->usage.retries.fetch_sub(1, std::memory_order_relaxed); }

// A change somewhere in the mesh is mostly not one of ours: turns and tables then stay as they are.
void Cluster::refresh() {
  if (known_ && generation_ == network_.generation()) return;
  const weft::route::Traffic* said = network_.traffic(destination_);
  const weft::route::Traffic& traffic =
      said == nullptr ? weft::route::Traffic::default_instance() : *said;
  const bool is_new = !known_ || traffic.SerializeAsString() != traffic_->SerializeAsString();
  if (is_new) {
    traffic_ = std::make_shared<const weft::route::Traffic>(traffic);
    shared_->outliers.update(traffic_->outlier());
  }
  protocol_ = network_.protocol(destination_);
  std::vector<Host> hosts = network_.endpoints(destination_);
  const bool are_same =
      std::ranges::equal(hosts, pools_, [](const Host& host, const std::shared_ptr<Pool>& pool) {
        return pool->host().name == host.name && pool->host().workload == host.workload;
      });
  if (is_new || !are_same || own_place_ != network_.own_place()) take_endpoints(std::move(hosts));
  generation_ = network_.generation();
  known_ = true;
}

// Endpoints that stay keep their connections, and the time since when they are known; those that
// were there at the beginning need no warming up.
void Cluster::take_endpoints(std::vector<Host> hosts) {
  const Clock::time_point now = loop_.now();
  std::vector<std::shared_ptr<Pool>> pools;
  std::vector<Backend> backends;
  for (Host& host : hosts) {
    const auto same = std::ranges::find_if(pools_, [&](const std::shared_ptr<Pool>& pool) {
      return pool != nullptr && pool->host().name == host.name &&
             pool->host().workload == host.workload;
    });
    Backend backend;
    backend.name = host.name;
    backend.weight = host.weight;
    backend.place = host.place;
    pools.push_back(same == pools_.end()
                        ? std::make_shared<Pool>(loop_, network_, shared_, std::move(host),
                                                 known_ ? now : Clock::time_point())
                        : std::exchange(*same, nullptr));
    backend.since = pools.back()->since();
    backend.health = pools.back()->health();
    backend.active = &pools.back()->active();
    backends.push_back(std::move(backend));
  }
  for (const std::shared_ptr<Pool>& gone : pools_) {
    if (gone) gone->clear();
  }
  own_place_ = network_.own_place();
  balancer_.update(std::move(backends), *traffic_, own_place_, now, dice_);
  pools_ = std::move(pools);
}

}  // namespace weft::waypoint
