#include "agent/compile/l7/gateway_parents.h"

#include <algorithm>

namespace weft::l7 {

namespace api = crd::gateway_api;

std::string parent_key(const Backend& service) {
  return (service.service != nullptr ? "Service " : "ServiceEntry ") + service.ns + "/" +
         service.object;
}

bool is_attached(const objects::Object& route, const Backend& service, uint32_t port) {
  return std::ranges::any_of(parents_of(route), [&](const api::ParentRef& parent) {
    return parent_key(parent, route.metadata().namespace_()) == parent_key(service) &&
           (parent.port() == 0 || parent.port() == port);
  });
}

}  // namespace weft::l7
