#pragma once

#include "ztunnel/base/ip.h"
#include "ztunnel/learn/claimants.h"
#include "ztunnel/learn/shared_map.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

namespace weft::learn {

struct Service;

// Which service a virtual address means. A service has single addresses and whole ranges (a
// ServiceEntry's CIDRs); several services may have the same one.
class VipTable {
 public:
  void add(const Cidr& range, std::shared_ptr<const Service> service);
  void remove(const Cidr& range, const std::shared_ptr<const Service>& service);

  // The service with exactly this address; null where there is none for a client of the namespace.
  std::shared_ptr<const Service> exact(const IpAddress& ip, std::string_view client_ns) const;
  // The service of the longest range, shorter than a whole address, that has one for the client.
  std::shared_ptr<const Service> in_range(const IpAddress& ip, std::string_view client_ns) const;

  bool empty() const { return claims_.empty(); }
  // Every range with its claimants, the one that is preferred first.
  struct CidrHash {
    size_t operator()(const Cidr& cidr) const noexcept {
      return std::hash<IpAddress>{}(cidr.address()) * 31 + cidr.length();
    }
  };
  using Claims = SharedMap<Cidr, Claimants, CidrHash>;
  const Claims& claims() const { return claims_; }

 private:
  struct Length {
    bool v4 = false;
    uint32_t bits = 0;
    size_t count = 0;  // of ranges that have it
  };
  std::shared_ptr<const Service> find(const Cidr& range, std::string_view client_ns) const;

  Claims claims_;
  std::vector<Length> lengths_;  // of what is shorter than an address; the longest first
};

}  // namespace weft::learn
