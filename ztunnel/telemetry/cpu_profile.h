#pragma once

#include "ztunnel/base/result.h"

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace weft::telemetry {

// Where this process's threads spend their processor time. The kernel samples (perf_event_open): no
// signal interrupts a thread and nothing of ours runs in one, and without a profile there is
// nothing at all. Costs 68 KiB a thread while it runs. Threads that start later are not in it.
class CpuProfile {
 public:
  static constexpr uint32_t kFrequencyMax = 1000;
  // A thread's ring holds about 250 samples: a quarter of a second at kFrequencyMax.
  static constexpr std::chrono::milliseconds kCollectEvery{100};
  // Different stacks that are kept; more are counted as lost. A busy ztunnel has some thousands.
  static constexpr size_t kStacksMax = 20'000;

  // `frequency`: samples a second of processor time, of each thread. kUnsupported with what is
  // missing, where the kernel refuses.
  static Result<std::unique_ptr<CpuProfile>> start(uint32_t frequency);
  ~CpuProfile();
  CpuProfile(const CpuProfile&) = delete;
  CpuProfile& operator=(const CpuProfile&) = delete;

  void collect();        // what came since the last call; at least every kCollectEvery
  std::string finish();  // collects, and ends; the bytes of a profile.proto, with function names

 private:
  class Ring;
  explicit CpuProfile(uint32_t frequency);
  void add(const uint64_t* addresses, uint64_t count);

  uint32_t frequency_;
  std::chrono::system_clock::time_point since_;
  std::vector<std::unique_ptr<Ring>> rings_;
  std::map<std::vector<uint64_t>, int64_t> stacks_;  // the leaf first
  uint64_t lost_ = 0;
};

}  // namespace weft::telemetry
