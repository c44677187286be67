#pragma once

#include "agent/objects/object.h"
#include "ztunnel/base/fd.h"
#include "ztunnel/base/result.h"

#include <memory>
#include <string>
#include <vector>

namespace weft::sandbox {

using ObjectPtr = std::shared_ptr<const objects::Object>;

// The sandbox's "API server": a folder with one canonical JSON file an object, written by rename.
// Whoever reads, changes and writes holds the lock meanwhile, so that commands and the supervisor
// do not overwrite each other's changes.
class Store {
 public:
  explicit Store(std::string folder) : folder_(std::move(folder)) {}

  using Lock = Fd;
  Result<Lock> lock() const;

  // All that can be read; what cannot is logged and left out.
  Result<std::vector<ObjectPtr>> list() const;
  // Null where there is none.
  Result<ObjectPtr> get(const objects::Key& key) const;
  // Gives the object the next resourceVersion.
  Result<void> put(const objects::Object& object) const;
  Result<void> remove(const objects::Key& key) const;

  // "Pod_shop_users.json"; a name of Kubernetes has no underscore. kInvalid: a name that is none.
  static Result<std::string> file_name(const objects::Key& key);
  // The last applied resourceVersion, as a number that only grows.
  Result<uint64_t> next_version() const;

 private:
  Result<std::vector<ObjectPtr>> read(const std::string& path) const;
  std::string folder_;
};

// A random (version 4) UUID from the kernel.
std::string new_uid();
// RFC 3339, UTC, whole seconds.
std::string now_rfc3339();

// A copy that may be changed, as its own type.
template <class T>
std::shared_ptr<T> copy_of(const objects::Object& object) {
  return std::make_shared<T>(*object.as<T>());
}

}  // namespace weft::sandbox
