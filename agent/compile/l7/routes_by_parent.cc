#include "agent/compile/l7/routes_by_parent.h"

#include <algorithm>
#include <tuple>

namespace weft::l7 {

namespace api = crd::gateway_api;

bool RoutesByParent::is_route(const objects::Key& key) {
  return key.kind == "HTTPRoute" || key.kind == "GRPCRoute" || key.kind == "TCPRoute" ||
         key.kind == "TLSRoute";
}

const ParentRefs& parents_of(const objects::Object& route) {
  static const ParentRefs none;
  if (const auto* http = route.as<api::HTTPRoute>()) return http->spec().parentrefs();
  if (const auto* grpc = route.as<api::GRPCRoute>()) return grpc->spec().parentrefs();
  if (const auto* tcp = route.as<api::TCPRoute>()) return tcp->spec().parentrefs();
  if (const auto* tls = route.as<api::TLSRoute>()) return tls->spec().parentrefs();
  return none;
}

std::string parent_key(const api::ParentRef& parent, const std::string& own_ns) {
  const bool is_service =
      parent.kind() == "Service" && parent.has_group() && parent.group().empty();
  const bool is_entry = parent.kind() == "ServiceEntry" && parent.group() == "networking.istio.io";
  if (!is_service && !is_entry) return {};
  return parent.kind() + " " + (parent.namespace_().empty() ? own_ns : parent.namespace_()) + "/" +
         parent.name();
}

void RoutesByParent::put(const objects::Key& key, const ObjectPtr& object) {
  const auto each = [&](const objects::Object& route, auto call) {
    for (const auto& parent : parents_of(route)) {
      const std::string name = parent_key(parent, key.ns);
      if (!name.empty()) call(name);
    }
  };
  const auto before = routes_.find(key);
  if (before != routes_.end()) {
    each(*before->second, [&](const std::string& parent) {
      by_parent_[parent].erase(key);
      if (by_parent_[parent].empty()) by_parent_.erase(parent);
    });
    routes_.erase(before);
  }
  if (object == nullptr) return;
  each(*object, [&](const std::string& parent) { by_parent_[parent].insert(key); });
  routes_[key] = object;
}

std::vector<RoutesByParent::ObjectPtr> RoutesByParent::of(const std::string& parent) const {
  std::vector<ObjectPtr> routes;
  const auto found = by_parent_.find(parent);
  if (found == by_parent_.end()) return routes;
  for (const objects::Key& key : found->second) routes.push_back(routes_.at(key));
  // Unlike Istio's kinds these conflict by namespace first, then by name.
  std::ranges::sort(routes, [](const ObjectPtr& one, const ObjectPtr& other) {
    const auto order = [](const objects::Object& object) {
      const auto& meta = object.metadata();
      return std::tie(meta.creationtimestamp(), meta.namespace_(), meta.name());
    };
    return order(*one) < order(*other);
  });
  return routes;
}

}  // namespace weft::l7
