#pragma once

#include "agent/compile/l7/backend.h"
#include "agent/compile/l7/destination_rules.h"

#include <cstdint>
#include <set>
#include <string>
#include <utility>

namespace weft::l7 {

// Turns what rules name into destinations, and remembers what it was asked for: the routes that are
// made with it have to be made again when one of those changes.
class Resolver {
 public:
  // For routes of a waypoint.
  Resolver(const compile::Store& store, const compile::MeshConfig& config, Asker asker)
      : store_(store), config_(config), asker_(std::move(asker)) {}

  // Of a rule in force in namespace `ns`, `host` being whole. Without a port: the service's only
  // one, else the one that the client asked for. No such host: a Destination without one.
  weft::route::Destination resolve(const std::string& host, const std::string& subset,
                                   uint32_t port, const std::string& ns, uint32_t asked_port);
  // The routes depend on this object, which may not be there.
  void note(const objects::Key& object) { objects_.insert(object); }

  const std::set<std::string>& hosts() const { return hosts_; }
  const std::set<Name>& backends() const { return backends_; }  // those that are there
  const std::set<objects::Key>& objects() const { return objects_; }
  const compile::Store& store() const { return store_; }
  const compile::MeshConfig& config() const { return config_; }

 private:
  const compile::Store& store_;
  const compile::MeshConfig& config_;
  Asker asker_;
  std::set<std::string> hosts_;
  std::set<Name> backends_;
  std::set<objects::Key> objects_;
};

}  // namespace weft::l7
