#pragma once

#include "agent/compile/compiler.h"
#include "agent/compile/store.h"
#include "agent/objects/object.h"

#include <functional>
#include <set>
#include <string>
#include <vector>

namespace weft::analyze {

using ObjectPtr = std::shared_ptr<const objects::Object>;

// A pod that runs, or one that something in the manifests would make: manifests hold Deployments
// rather than Pods.
struct Shape {
  enum class Mesh {
    kIn,
    kOut,
    kUnknown
  };  // unknown: its namespace's labels are not among the
      // objects
  objects::Key origin;  // the Pod, the Deployment, ..
  crd::core::Pod pod;
  Mesh mesh = Mesh::kUnknown;
};

// Everything that the checks look at. Pure.
class Cluster {
 public:
  // `unread`: objects that are there and could not be read; nothing is said to be missing that may
  // be one of them.
  Cluster(const std::vector<ObjectPtr>& objects, const std::set<objects::Key>& unread,
          compile::MeshConfig config);

  const compile::MeshConfig& config() const { return config_; }
  const compile::Store& store() const { return store_; }
  const std::vector<ObjectPtr>& objects() const { return objects_; }
  // Each workload once: a pod of a Deployment that is there too would only repeat it.
  const std::vector<Shape>& shapes() const { return shapes_; }
  // Each workload as it runs: pods, and what makes pods only where none of its pods is there.
  const std::vector<Shape>& running() const { return running_; }

  // A Namespace, one that every cluster has, or one in which a workload or Service stands.
  bool has_namespace(const std::string& name) const;
  bool has(const std::string& kind, const std::string& ns, const std::string& name) const;
  // Whether all workloads of the namespace could be read; "": of every namespace.
  bool knows_pods_of(const std::string& ns) const;
  // The shapes of a namespace ("": of all) that have these labels.
  std::vector<const Shape*> matching(const std::string& ns, const compile::Labels& wanted) const;

 private:
  void add_shapes(const ObjectPtr& object);

  compile::MeshConfig config_;
  std::vector<ObjectPtr> objects_;
  compile::Store store_;
  std::vector<Shape> shapes_;
  std::vector<Shape> running_;
  std::set<objects::Key> keys_;  // also of what could not be read
  std::set<std::string> namespaces_;
  std::set<std::string> with_unread_pods_;
};

// The namespace of shapes that a policy by selector looks in: "" for the root namespace's.
std::string scope_of(const std::string& ns, const compile::MeshConfig& config);
// "app=web,tier=front", sorted.
std::string describe(const compile::Labels& labels);
// Whether the pod would be in the mesh because of its namespace, were it an ordinary one.
bool is_wanted_by_namespace(const Shape& shape, const Cluster& cluster);

}  // namespace weft::analyze
