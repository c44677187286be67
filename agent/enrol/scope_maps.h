#pragma once

#include "agent/compile/capture_scope.h"
#include "ztunnel/base/result.h"

#include <cstdint>

namespace weft::enrol {

// A pod's CaptureScope as the kernel programs read it: flags of its weft_pod, and its slot's
// entries in two maps. Changed in an order in which no connection is captured by neither the old
// nor the new scope: add_entries(), then the flags, then drop_entries().
class ScopeMaps {
 public:
  ScopeMaps(int ports, int ranges) : ports_(ports), ranges_(ranges) {}

  static uint32_t flags_of(const compile::CaptureScope& scope);  // weft_pod_flag
  // kLimit: the node's pods together list more than the maps hold.
  Result<void> add_entries(uint32_t slot, const compile::CaptureScope& scope) const;
  // Removes the slot's entries that are not the scope's.
  Result<void> drop_entries(uint32_t slot, const compile::CaptureScope& scope) const;

 private:
  int ports_;
  int ranges_;
};

}  // namespace weft::enrol
