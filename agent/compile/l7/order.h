#pragma once

#include "proto/crd/core.pb.h"

#include <tuple>

namespace weft::l7 {

// Of objects that conflict, Istio takes the oldest, then the first by name.
inline bool is_older(const crd::core::ObjectMeta& one, const crd::core::ObjectMeta& other) {
  return std::tie(one.creationtimestamp(), one.name(), one.namespace_()) <
         std::tie(other.creationtimestamp(), other.name(), other.namespace_());
}

}  // namespace weft::l7
