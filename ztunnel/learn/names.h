#pragma once

#include "ztunnel/learn/claimants.h"
#include "ztunnel/learn/shared_map.h"

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace weft::learn {

struct Workload;

// Which service or pod a DNS name means. Names are in lower case, without the last dot; whose names
// have other letters is found all the same.
class NameTable {
 public:
  void add(std::shared_ptr<const Service> service);
  void remove(const std::shared_ptr<const Service>& service);
  // By the pod's own name below a headless service, where it has one.
  void add(std::shared_ptr<const Workload> workload);
  void remove(const std::shared_ptr<const Workload>& workload);

  // The service with exactly this host name ("*.example.com" for a wildcard); null where there is
  // none for a client of the namespace.
  std::shared_ptr<const Service> service(std::string_view host, std::string_view client_ns) const;
  // The pods with this spec.hostname whose spec.subdomain is the service's name: one, unless
  // somebody gave a name twice.
  using Pods = std::vector<std::shared_ptr<const Workload>>;
  const Pods& pods(std::string_view hostname, const Service& subdomain) const;

 private:
  struct Hash {
    using is_transparent = void;
    size_t operator()(std::string_view text) const noexcept {
      return std::hash<std::string_view>{}(text);
    }
  };
  template <class T>
  using Table = SharedMap<std::string, T, Hash>;
  Table<Claimants> services_;  // by host name
  Table<Pods> pods_;           // by "hostname.subdomain.namespace"
};

}  // namespace weft::learn
