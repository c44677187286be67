#pragma once

#include "agent/objects/object.h"
#include "proto/crd/gateway_routes.pb.h"

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

namespace weft::l7 {

using ParentRefs = google::protobuf::RepeatedPtrField<crd::gateway_api::ParentRef>;
const ParentRefs& parents_of(const objects::Object& route);  // empty: another kind

// "Service ns/name" or "ServiceEntry ns/name"; empty: it is another kind of parent.
std::string parent_key(const crd::gateway_api::ParentRef& parent, const std::string& own_ns);
// Routes of the Gateway API by what they are attached to, as far as that is a Service or a
// ServiceEntry. Kept up to date with the store.
class RoutesByParent {
 public:
  using ObjectPtr = std::shared_ptr<const objects::Object>;

  // Whether the object is of these kinds; null: it is gone.
  static bool is_route(const objects::Key& key);
  void put(const objects::Key& key, const ObjectPtr& object);
  // The routes attached to it ("Service ns/name"), the oldest first.
  std::vector<ObjectPtr> of(const std::string& parent) const;

 private:
  std::map<std::string, std::set<objects::Key>> by_parent_;
  std::map<objects::Key, ObjectPtr> routes_;
};

}  // namespace weft::l7
