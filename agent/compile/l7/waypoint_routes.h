#pragma once

#include "agent/compile/l7/resolver.h"
#include "agent/compile/l7/waypoint_policies.h"

#include <map>
#include <set>
#include <string>
#include <vector>

namespace weft::l7 {

constexpr const char* kRoutesType = "weft.route.Routes";

// What waypoints are told, kept up to date: touch() learns what has changed, compile() makes again
// what depends on it and nothing else. Belongs to one thread.
class WaypointRoutes {
 public:
  // An object of this kind is not what it was: with it as it was before, and as it is now.
  void touch(const objects::Object& object, const compile::MeshConfig& config);
  // A service, or which waypoint it has, is not what it was; also of one that is gone.
  void touch(const Name& service);
  void touch_everything();

  Changes compile(const compile::Store& store, const compile::MeshConfig& config);
  const std::map<std::string, compile::Resource>& resources() const { return routes_; }
  const std::map<std::string, compile::Resource>& policies() const { return policies_.resources(); }

 private:
  // A service behind a waypoint, and what its routes were made of.
  struct Served {
    compile::WaypointName waypoint;
    std::string resource;
    std::string parent;  // what Gateway API routes and policies name
    std::set<std::string> hosts;
    std::set<objects::Key> objects;
    std::set<Name> destinations;
  };

  void touch_hosts(const std::set<std::string>& patterns);
  void touch_rule(const std::string& pattern);
  void touch_parent(const std::string& parent);
  void touch_dependents(const objects::Key& object);
  void forget(const Name& name);
  void remove(const Name& name, Changes& changes);
  void remember(const Name& name, Served served);
  void compile_service(const Name& name, const compile::Store& store,
                       const compile::MeshConfig& config, Changes& changes);

  WaypointPolicies policies_;
  std::map<Name, Served> served_;
  std::map<std::string, std::set<Name>> served_by_host_;
  std::map<std::string, std::set<Name>> by_parent_;
  std::map<std::string, std::set<Name>> by_host_;     // whose routes name the host
  std::map<objects::Key, std::set<Name>> by_object_;  // whose routes were made of the object
  std::map<std::string, compile::Resource> routes_;   // by resource name
  std::set<Name> dirty_;
};

// The routes of one service behind the waypoint.
weft::route::Routes compile_routes(const Backend& service, const compile::WaypointName& waypoint,
                                   Resolver& resolver);

}  // namespace weft::l7
