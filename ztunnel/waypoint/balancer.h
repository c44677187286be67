#pragma once

#include "ztunnel/waypoint/pool.h"
#include "ztunnel/waypoint/upstreams.h"

#include <cstdint>
#include <memory>
#include <random>
#include <span>

namespace weft::waypoint {

// Which of a cluster's endpoints the next request goes to.
class Balancer {
 public:
  explicit Balancer(uint64_t seed = std::random_device{}()) : random_(seed) {}

  // An index of `pools`; their number where there is none to choose.
  size_t choose(std::span<const std::shared_ptr<Pool>> pools, const weft::route::Balancing& how,
                const Chooser& chooser);

 private:
  size_t least_of_two(std::span<const std::shared_ptr<Pool>> pools);

  std::minstd_rand random_;
  size_t next_ = 0;  // round robin
};

}  // namespace weft::waypoint
