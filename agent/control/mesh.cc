#include "agent/control/mesh.h"

#include "ztunnel/base/log.h"

namespace weft::control {

std::vector<compile::Resource> Mesh::apply(const std::vector<source::Change>& changes) {
  std::vector<compile::Resource> resources;
  std::vector<compile::Notice> present;
  {
    const std::scoped_lock lock(mutex_);
    resources = compiler_.apply(changes);
    present = compiler_.notices();
    is_known_ = true;
  }
  std::set<std::string> notices;
  for (const auto& notice : present) {
    const std::string object = notice.object.to_string();
    const std::string& text = *notices.insert(object + ": " + notice.message).first;
    if (logged_notices_.contains(text)) continue;
    log::warn("control").field("object", object).say(notice.message);
  }
  logged_notices_ = std::move(notices);
  return resources;
}

Placement Mesh::placement(const std::string& node, const SpiffeId& identity) const {
  const std::scoped_lock lock(mutex_);
  if (!is_known_) return Placement::kNotKnownYet;
  return compiler_.node_runs(node, identity) ? Placement::kHere : Placement::kElsewhere;
}

Result<std::optional<std::string>> Mesh::waypoint_of(const std::string& ns,
                                                     const std::string& account) const {
  const std::scoped_lock lock(mutex_);
  if (!is_known_) return fail(Code::kUnavailable, "control does not know the mesh yet: ask again");
  if (!compiler_.has_waypoint(ns, account)) return std::nullopt;
  return ns + "/" + account;
}

std::vector<compile::Notice> Mesh::notices() const {
  const std::scoped_lock lock(mutex_);
  return compiler_.notices();
}

bool Mesh::is_known() const {
  const std::scoped_lock lock(mutex_);
  return is_known_;
}

}  // namespace weft::control
