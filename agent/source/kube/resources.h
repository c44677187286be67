#pragma once

#include "agent/objects/kinds.h"
#include "agent/objects/object.h"
#include "agent/source/kube/api_client.h"

#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace weft::source::kube {

// One kind of object that is mirrored from an API server.
struct Resource {
  std::string_view group;                  // empty: the core API
  std::vector<std::string_view> versions;  // the one to be asked for first
  std::string_view plural;                 // "pods"
  std::string_view kind;                   // "Pod", as objects::kinds() knows it in this group
  bool namespaced = true;
  bool metadata_only = false;  // nothing reads more of it
  bool keeps_status = false;   // we write it, so what it is there is kept
  bool built_in = true;        // false: a CRD, which may be absent
  std::string ns = {};         // only in this namespace; empty: everywhere
  std::string field_selector = {};
};

// A resource and the version of it that the server has.
struct Served {
  Resource resource;
  std::string version;

  std::string api_version() const;                         // "security.istio.io/v1"
  std::string collection() const;                          // "/api/v1/pods", within its namespace
  std::string object_path(const objects::Key& key) const;  // "/api/v1/namespaces/a/pods/b"
};

// Everything that the compiler reads. `root_namespace`: where the mesh's ConfigMap is.
std::vector<Resource> control_resources(const std::string& root_namespace);
// What a node's agent reads: its pods, and namespaces.
std::vector<Resource> node_resources(const std::string& node);

// Which of `wanted` the server has, in the best version; of those that it does not have, nothing is
// said. An Error: it could not be asked, so nothing is known.
runtime::Task<Result<std::vector<Served>>> discover(ApiClient& client,
                                                    std::vector<Resource> wanted);

}  // namespace weft::source::kube
