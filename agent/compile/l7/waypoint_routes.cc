#include "agent/compile/l7/waypoint_routes.h"

#include "agent/compile/l7/gateway_parents.h"
#include "agent/compile/l7/hosts.h"
#include "agent/compile/l7/virtual_services.h"
#include "agent/compile/waypoint_guards.h"
#include "agent/compile/wire.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace weft::l7 {

namespace {

template <class Map, class Key>
void erase_from(Map& map, const Key& key, const Name& name) {
  const auto found = map.find(key);
  if (found == map.end()) return;
  found->second.erase(name);
  if (found->second.empty()) map.erase(found);
}

}  // namespace

void WaypointRoutes::touch(const objects::Object& object, const compile::MeshConfig& config) {
  if (const auto* routes = object.as<crd::networking::VirtualService>()) {
    touch_hosts(mesh_hosts_of(*routes, config.cluster_domain));
    touch_dependents(object.key());
  } else if (const auto* rule = object.as<crd::networking::DestinationRule>()) {
    touch_rule(full_host(rule->spec().host(), object.key().ns, config.cluster_domain));
  } else if (RoutesByParent::is_route(object.key())) {
    for (const auto& parent : parents_of(object)) {
      touch_parent(parent_key(parent, object.key().ns));
    }
  } else if (object.as<crd::gateway_api::ReferenceGrant>() != nullptr) {
    touch_dependents({"ReferenceGrant", object.key().ns, ""});
  }
}

void WaypointRoutes::touch_parent(const std::string& parent) {
  const auto served = by_parent_.find(parent);
  if (served != by_parent_.end()) dirty_.insert(served->second.begin(), served->second.end());
}

// A rule says how hosts are reached, and whose subsets are meant where routes name one.
void WaypointRoutes::touch_rule(const std::string& pattern) {
  policies_.touch_hosts(pattern);
  for (const auto& [host, users] : by_host_) {
    if (host_matches(pattern, host)) dirty_.insert(users.begin(), users.end());
  }
}

void WaypointRoutes::touch_dependents(const objects::Key& object) {
  const auto users = by_object_.find(object);
  if (users != by_object_.end()) dirty_.insert(users->second.begin(), users->second.end());
}

void WaypointRoutes::touch_hosts(const std::set<std::string>& patterns) {
  for (const std::string& pattern : patterns) {
    if (!is_wildcard(pattern)) {
      const auto same = served_by_host_.find(pattern);
      if (same != served_by_host_.end()) dirty_.insert(same->second.begin(), same->second.end());
      continue;
    }
    for (const auto& [host, names] : served_by_host_) {
      if (host_matches(pattern, host)) dirty_.insert(names.begin(), names.end());
    }
  }
}

void WaypointRoutes::touch(const Name& service) {
  dirty_.insert(service);
  const auto users = by_host_.find(service.second);
  if (users != by_host_.end()) dirty_.insert(users->second.begin(), users->second.end());
}

void WaypointRoutes::touch_everything() {
  policies_.touch_everything();
  for (const auto& [name, served] : served_) dirty_.insert(name);
}

void WaypointRoutes::forget(const Name& name) {
  const auto before = served_.find(name);
  if (before == served_.end()) return;
  const Served& served = before->second;
  for (const std::string& host : served.hosts) erase_from(by_host_, host, name);
  for (const objects::Key& object : served.objects) erase_from(by_object_, object, name);
  erase_from(served_by_host_, name.second, name);
  erase_from(by_parent_, served.parent, name);
  policies_.release(served.waypoint, served.destinations);
  served_.erase(before);
}

void WaypointRoutes::remove(const Name& name, Changes& changes) {
  const auto before = served_.find(name);
  if (before == served_.end()) return;
  const auto resource = routes_.find(before->second.resource);
  changes.removed.push_back(compile::removal_of(resource->second));
  routes_.erase(resource);
  forget(name);
}

void WaypointRoutes::remember(const Name& name, Served served) {
  for (const std::string& host : served.hosts) by_host_[host].insert(name);
  for (const objects::Key& object : served.objects) by_object_[object].insert(name);
  served_by_host_[name.second].insert(name);
  by_parent_[served.parent].insert(name);
  policies_.use(served.waypoint, served.destinations);
  served_[name] = std::move(served);
}

void WaypointRoutes::compile_service(const Name& name, const compile::Store& store,
                                     const compile::MeshConfig& config, Changes& changes) {
  const auto service = backend_of(name, store, config);
  const auto waypoint = service ? waypoint_of(*service, store) : std::nullopt;
  const auto before = served_.find(name);
  if (!waypoint || (before != served_.end() && before->second.waypoint != *waypoint)) {
    remove(name, changes);
  }
  if (!waypoint) return;
  Resolver resolver(store, config, {waypoint->ns, waypoint->name});
  const std::string resource = resource_name(*waypoint, name);
  weft::route::Routes routes = compile_routes(*service, *waypoint, resolver);
  routes.set_refused(service->service != nullptr
                         ? refusal_of(*service->service, *waypoint, store, config)
                         : refusal_of(*service->entry, *waypoint, store, config));
  compile::Resource made = compile::to_resource(kRoutesType, resource, routes);
  Served served{*waypoint,        resource,           parent_key(*service),
                resolver.hosts(), resolver.objects(), resolver.backends()};
  served.destinations.insert(name);
  forget(name);
  remember(name, std::move(served));
  const auto old = routes_.find(resource);
  if (old != routes_.end() && old->second.version == made.version) return;
  routes_[resource] = made;
  changes.set.push_back(std::move(made));
}

Changes WaypointRoutes::compile(const compile::Store& store, const compile::MeshConfig& config) {
  Changes changes;
  for (const Name& name : std::exchange(dirty_, {})) {
    compile_service(name, store, config, changes);
  }
  // What it takes to reach a host comes before the routes to it, and goes after them.
  Changes policies;
  policies_.compile(store, config, policies);
  std::ranges::move(changes.set, std::back_inserter(policies.set));
  std::ranges::move(policies.removed, std::back_inserter(changes.removed));
  return {std::move(policies.set), std::move(changes.removed)};
}

}  // namespace weft::l7
