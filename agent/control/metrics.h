#pragma once

#include "agent/control/status.h"

#include <array>
#include <chrono>
#include <cstdint>
#include <string>

namespace weft::control {

// How long it took from changes of objects to what is due being on its way to every node that is
// not busy. Belongs to the loop's thread.
class PushTimes {
 public:
  // Seconds; around what a change costs in a mesh of ten to fifty thousand pods.
  static constexpr std::array<double, 9> kBounds{0.0001, 0.0005, 0.001, 0.005, 0.01,
                                                 0.05,   0.1,    0.5,   1.0};
  void add(std::chrono::steady_clock::duration time);
  const std::array<uint64_t, kBounds.size()>& below() const { return below_; }  // cumulative
  uint64_t count() const { return count_; }
  double sum_seconds() const { return sum_seconds_; }

 private:
  std::array<uint64_t, kBounds.size()> below_{};
  uint64_t count_ = 0;
  double sum_seconds_ = 0;
};

// Prometheus' text format. Where Istio's istiod has a metric of the same meaning, its name is used,
// so that dashboards go on working.
std::string to_prometheus(const Status& status, const PushTimes& pushes);

}  // namespace weft::control
