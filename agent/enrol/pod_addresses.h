#pragma once

#include "ztunnel/base/ip.h"

#include <string>

namespace weft::enrol {

// A pod's own addresses, at most one of a family as Kubernetes gives them (status.podIPs);
// unspecified: none of that family.
struct PodAddresses {
  IpAddress v4;
  IpAddress v6;

  bool has_v4() const { return v4.is_v4(); }
  bool has_v6() const { return !v6.is_unspecified(); }
  bool empty() const { return !has_v4() && !has_v6(); }
  // The one that identifies the pod where one is enough.
  const IpAddress& first() const { return has_v4() ? v4 : v6; }
  // The place of its family is taken.
  void set(const IpAddress& address) { (address.is_v4() ? v4 : v6) = address; }
  std::string to_string() const {
    if (has_v4() && has_v6()) return v4.to_string() + ", " + v6.to_string();
    return first().to_string();
  }

  auto operator<=>(const PodAddresses&) const = default;
};

}  // namespace weft::enrol
