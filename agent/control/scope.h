#pragma once

#include "agent/compile/compiler.h"
#include "agent/source/source.h"
#include "proto/crd/mesh.pb.h"

#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace weft::control {

// Which objects are this control's to act on; those that come into its scope, or leave it, are made
// changes of. Pure; belongs to one thread. Two things decide:
//
// - discoverySelectors of the mesh's configuration: a namespace counts where one of them selects
// its
//   labels, or where there are none. The root namespace and control's own always count: a policy
//   there is the whole mesh's, and left out would let through what it denies.
// - a revision (--revision, for where an istiod is, too): objects of Istio's and the Gateway API's
//   groups count where their label istio.io/rev, or else their namespace's, names it. Kubernetes'
//   own (pods, Services, ..) always count.
class Scope {
 public:
  struct Config {
    compile::MeshConfig mesh;
    std::string revision;
    std::string own_namespace;
  };
  explicit Scope(Config config);
  ~Scope();

  // What changes for who reads only what is in scope.
  std::vector<source::Change> filter(std::vector<source::Change> changes);
  // Whether a namespace is to be given the roots of this CA: it exists, counts by the selectors
  // and, beside another control plane, by its label; and it is none of Kubernetes' own.
  bool wants_roots(const std::string& ns) const;
  // Those for which that has, or may have, changed in the last filter(): each once.
  const std::set<std::string>& touched_namespaces() const { return touched_; }

 private:
  struct ByName;
  struct Held;
  struct Space;
  Space& space(const std::string& ns);
  void take_in(const source::Change& change);
  void look_again(const std::string& ns, std::vector<source::Change>& out);
  bool is_selected(const std::string& ns) const;
  bool is_ours(const google::protobuf::Map<std::string, std::string>& labels) const;
  bool is_in(const Space& space, const objects::Object& object) const;
  void read_selectors(const objects::Object* object);

  const Config config_;
  std::vector<crd::mesh::LabelSelector> selectors_;
  std::map<std::string, std::unique_ptr<Space>> spaces_;
  std::set<std::string> touched_;
  bool selectors_changed_ = false;
};

// metav1.LabelSelector over labels. An operator that is none of the four selects nothing.
bool selects(const crd::mesh::LabelSelector& selector,
             const google::protobuf::Map<std::string, std::string>& labels);

}  // namespace weft::control
