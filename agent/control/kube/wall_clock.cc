#include "agent/control/kube/wall_clock.h"

#include <chrono>
#include <cstdio>
#include <ctime>

namespace weft::control::kube {

std::string wall_clock_now() {
  const auto since = std::chrono::duration_cast<std::chrono::microseconds>(
                         std::chrono::system_clock::now().time_since_epoch())
                         .count();
  const time_t seconds = static_cast<time_t>(since / 1'000'000);
  tm parts{};
  gmtime_r(&seconds, &parts);
  char whole[32];
  const size_t length = std::strftime(whole, sizeof whole, "%Y-%m-%dT%H:%M:%S", &parts);
  char fraction[16];
  std::snprintf(fraction, sizeof fraction, ".%06dZ", static_cast<int>(since % 1'000'000));
  return std::string(whole, length) + fraction;
}

}  // namespace weft::control::kube
