#pragma once

#include "agent/sandbox/families.h"

#include <set>
#include <string>

namespace weft::sandbox {

// What an API server gives a Service beside what is written: addresses and families, by
// spec.ipFamilies and spec.ipFamilyPolicy.
class ClusterIps {
 public:
  explicit ClusterIps(Families families) : families_(families) {}

  // Addresses that a Service has, or asks for.
  void take(const crd::core::Service& service);
  // Completes `service`, whose name is `name`; `present` is what is stored of it, or null: it keeps
  // its addresses. kInvalid: "spec.field: what was expected".
  Result<void> complete(const std::string& name, const crd::core::Service* present,
                        crd::core::Service& service);

 private:
  Result<std::vector<bool>> families_of(const crd::core::ServiceSpec& spec) const;
  Result<std::string> ip_of_family(const std::string& name, const crd::core::Service* present,
                                   const crd::core::Service& service, bool v6);
  std::string free_ip(const std::string& name, bool v6);

  Families families_;
  std::set<std::string> taken_;
};

}  // namespace weft::sandbox
