#include "agent/compile/l7/waypoint_routes.h"

#include "agent/compile/l7/hosts.h"
#include "agent/compile/l7/virtual_services.h"
#include "agent/compile/wire.h"

namespace weft::l7 {

namespace {

std::string resource_name(const compile::WaypointName& waypoint, const Name& name) {
  return waypoint.to_string() + "/" + name.first + "/" + name.second;
}

template <class Map, class Key>
void erase_from(Map& map, const Key& key, const Name& name) {
  const auto found = map.find(key);
  if (found == map.end()) return;
  found->second.erase(name);
  if (found->second.empty()) map.erase(found);
}

}  // namespace

void WaypointRoutes::take_out(const objects::Object& before, const compile::MeshConfig& config) {
  const auto* routes = before.as<crd::networking::VirtualService>();
  if (routes == nullptr) return;
  const objects::Key key = before.key();
  touch_hosts(mesh_hosts_of(*routes, config));
  touch_dependents(key);
  virtual_services_.erase(key.ns, key.name);
}

void WaypointRoutes::take_in(const objects::Object& now, const compile::MeshConfig& config) {
  const auto* routes = now.as<crd::networking::VirtualService>();
  if (routes == nullptr) return;
  const objects::Key key = now.key();
  const std::set<std::string> hosts = mesh_hosts_of(*routes, config);
  touch_hosts(hosts);
  touch_dependents(key);
  virtual_services_.put(key.ns, key.name, hosts);
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
  for (const auto& [name, served] : served_) dirty_.insert(name);
}

void WaypointRoutes::forget(const Name& name, Changes& changes) {
  const auto before = served_.find(name);
  if (before == served_.end()) return;
  const Served& served = before->second;
  for (const std::string& host : served.hosts) erase_from(by_host_, host, name);
  for (const objects::Key& object : served.objects) erase_from(by_object_, object, name);
  erase_from(served_by_host_, name.second, name);
  const auto resource = routes_.find(served.resource);
  if (resource != routes_.end()) {
    changes.removed.push_back({.type = kRoutesType,
                               .name = served.resource,
                               .version = {},
                               .bytes = {},
                               .removed = true});
    routes_.erase(resource);
  }
  served_.erase(before);
}

void WaypointRoutes::remember(const Name& name, Served served) {
  for (const std::string& host : served.hosts) by_host_[host].insert(name);
  for (const objects::Key& object : served.objects) by_object_[object].insert(name);
  served_by_host_[name.second].insert(name);
  served_[name] = std::move(served);
}

void WaypointRoutes::compile_service(const Name& name, const compile::Store& store,
                                     const compile::MeshConfig& config, Changes& changes) {
  const auto service = backend_of(name, store, config);
  const auto waypoint = service ? waypoint_of(*service, store) : std::nullopt;
  if (!waypoint) return forget(name, changes);
  const auto before = served_.find(name);
  if (before != served_.end()) {
    if (before->second.waypoint != *waypoint) {
      forget(name, changes);
    } else {
      for (const std::string& host : before->second.hosts) erase_from(by_host_, host, name);
      for (const auto& object : before->second.objects) erase_from(by_object_, object, name);
    }
  }
  Resolver resolver(store, config);
  const std::string resource = resource_name(*waypoint, name);
  compile::Resource made = compile::to_resource(
      kRoutesType, resource, compile_routes(*service, *waypoint, virtual_services_, resolver));
  remember(name, {*waypoint, resource, resolver.hosts(), resolver.objects()});
  const auto old = routes_.find(resource);
  if (old != routes_.end() && old->second.version == made.version) return;
  routes_[resource] = made;
  changes.set.push_back(std::move(made));
}

WaypointRoutes::Changes WaypointRoutes::compile(const compile::Store& store,
                                                const compile::MeshConfig& config) {
  Changes changes;
  for (const Name& name : std::exchange(dirty_, {})) {
    compile_service(name, store, config, changes);
  }
  return changes;
}

}  // namespace weft::l7
