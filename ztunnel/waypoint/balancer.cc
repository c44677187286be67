#include "ztunnel/waypoint/balancer.h"

namespace weft::waypoint {

size_t Balancer::choose(std::span<const std::shared_ptr<Pool>> pools,
                        const weft::route::Balancing& how, const Chooser&) {
  if (pools.size() <= 1) return 0;
  switch (how.algorithm()) {
    case weft::route::Balancing::ROUND_ROBIN:
      return next_++ % pools.size();
    case weft::route::Balancing::RANDOM:
      return random_() % pools.size();
    default:
      return least_of_two(pools);
  }
}

// Envoy's least request: the less busy one of two that chance names.
size_t Balancer::least_of_two(std::span<const std::shared_ptr<Pool>> pools) {
  const size_t one = random_() % pools.size();
  const size_t step = 1 + random_() % (pools.size() - 1);
  const size_t other = (one + step) % pools.size();
  return pools[other]->active() < pools[one]->active() ? other : one;
}

}  // namespace weft::waypoint
