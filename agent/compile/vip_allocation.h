#pragma once

#include "agent/compile/store.h"
#include "ztunnel/base/ip.h"

#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace weft::compile {

// Virtual addresses for hosts of ServiceEntries that name none, from the ranges that Istio uses:
// 240.240.0.0/16 and 2001:2::/48. A host needs one to be told apart from others on the same port.
//
// They are a function of what is there and of nothing else, so they are the same in every replica
// and after every restart: each host has the place that a hash of its name gives it; where two want
// one place the older ServiceEntry (then the first by name) has it and the other the next free one.
// So a host's address changes only where an older one that it had made way for goes.
class VipAllocation {
 public:
  // "namespace/host"; the second sorts claims on a place: creation time, then name.
  using Claims = std::map<std::string, std::string>;
  static constexpr uint32_t kPlacesMax = 65534;  // of 240.240.0.0/16, without the first and last

  // Allocates for exactly these. Returns the keys whose addresses changed.
  std::set<std::string> update(Claims claims);
  // IPv4 and IPv6; none for a host that claims none, or where all places are taken.
  std::vector<Cidr> of(const std::string& key) const;

 private:
  Claims claims_;
  std::map<std::string, uint32_t> places_;  // from 1
};

// Whether its hosts are to have addresses: it names none and is not of resolution NONE, unless it
// is labelled networking.istio.io/enable-autoallocate-ip=false.
bool wants_addresses(const crd::networking::ServiceEntry& entry);
// All such hosts but wildcards.
VipAllocation::Claims vip_claims(const Store& store);

}  // namespace weft::compile
