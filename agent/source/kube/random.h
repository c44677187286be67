#pragma once

#include <random>

namespace weft::source::kube {

// From 0 to below 1, for jitter.
inline double random_part() {
  thread_local std::minstd_rand engine{std::random_device{}()};
  return std::generate_canonical<double, 32>(engine);
}

}  // namespace weft::source::kube
