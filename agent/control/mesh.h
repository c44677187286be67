#pragma once

#include "agent/compile/compiler.h"

#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace weft::control {

// Which identities run where, as far as control knows.
enum class Placement { kNotKnownYet, kElsewhere, kHere };

// The compiler behind a lock: the loop brings changes, gRPC's threads ask who runs where.
// Thread-safe.
class Mesh {
 public:
  explicit Mesh(compile::MeshConfig config) : compiler_(std::move(config)) {}

  // What Compiler::apply says. The first batch is everything there is: after it the mesh is known.
  // Logs each notice when it first appears.
  std::vector<compile::Resource> apply(const std::vector<source::Change>& changes);
  Placement placement(const std::string& node, const SpiffeId& identity) const;
  // Which waypoint a pod of this account is, as "namespace/name"; none: no waypoint's.
  Result<std::optional<std::string>> waypoint_of(const std::string& ns,
                                                 const std::string& account) const;
  std::vector<compile::Notice> notices() const;
  bool is_known() const;

 private:
  mutable std::mutex mutex_;
  compile::Compiler compiler_;
  bool is_known_ = false;
  std::set<std::string> logged_notices_;
};

}  // namespace weft::control
