#include "agent/compile/analyze/checks.h"
#include "agent/compile/service.h"

#include <algorithm>
#include <set>

namespace weft::analyze {

namespace {

using crd::security::AuthorizationPolicy;
using crd::security::AuthorizationPolicySpec;
using crd::security::PeerAuthentication;

// A few of what pods have instead, where a key is right and its value is not.
constexpr size_t kHintsMax = 3;

std::string nothing_selected(const Cluster& cluster, const std::string& ns,
                             const compile::Labels& wanted) {
  std::set<std::string> others;
  for (const Shape* shape : cluster.matching(ns, {})) {
    for (const auto& [key, value] : shape->pod.metadata().labels()) {
      if (wanted.contains(key) && others.size() < kHintsMax) others.insert(key + "=" + value);
    }
  }
  std::string message = "no workload " +
                        (ns.empty() ? std::string("of any namespace") : "in namespace " + ns) +
                        " has the labels " + describe(wanted);
  for (const std::string& other : others) {
    message += (other == *others.begin() ? "; there are " : ", ") + other;
  }
  return message;
}

objects::Key key_of(const char* kind, const crd::core::ObjectMeta& meta) {
  return {kind, meta.namespace_(), meta.name()};
}

// Whom a policy means: null where it is a waypoint's, or nobody can tell.
struct Aim {
  objects::Key key;
  std::string ns;                           // "": every namespace
  const compile::Labels* labels = nullptr;  // null: all
  std::string kind;
};

std::vector<Aim> aims(const Cluster& cluster) {
  std::vector<Aim> all;
  for (const auto& [ns, policies] : cluster.store().policies.all()) {
    for (const auto& [name, policy] : policies) {
      const auto& spec = policy->spec();
      if (spec.has_targetref() || spec.targetrefs_size() > 0) continue;
      if (spec.action() == AuthorizationPolicySpec::AUDIT) continue;
      all.push_back(
          {key_of("AuthorizationPolicy", policy->metadata()), scope_of(ns, cluster.config()),
           spec.has_selector() ? &spec.selector().matchlabels() : nullptr, "AuthorizationPolicy"});
    }
  }
  for (const auto& [ns, peers] : cluster.store().peers.all()) {
    for (const auto& [name, peer] : peers) {
      const auto& labels = peer->spec().selector().matchlabels();
      if (!labels.empty() && ns == cluster.config().root_namespace) continue;  // selects nothing
      all.push_back({key_of("PeerAuthentication", peer->metadata()), scope_of(ns, cluster.config()),
                     labels.empty() ? nullptr : &labels, "PeerAuthentication"});
    }
  }
  return all;
}

}  // namespace

void check_services_have_pods(const Cluster& cluster, Findings& findings) {
  for (const auto& [ns, services] : cluster.store().services.all()) {
    for (const auto& [name, service] : services) {
      const auto& wanted = service->spec().selector();
      if (wanted.empty() || service->spec().type() == "ExternalName") continue;
      if (!cluster.knows_pods_of(ns) || selects_any(cluster, ns, wanted)) continue;
      findings.add(kSelectsNothing, key_of("Service", service->metadata()),
                   nothing_selected(cluster, ns, wanted) + ": the Service has no endpoint");
    }
  }
}

void check_policies_select(const Cluster& cluster, Findings& findings) {
  for (const Aim& aim : aims(cluster)) {
    if (aim.labels == nullptr || aim.labels->empty() || !cluster.knows_pods_of(aim.ns)) continue;
    if (!cluster.matching(aim.ns, *aim.labels).empty()) continue;
    findings.add(kSelectsNothing, aim.key, nothing_selected(cluster, aim.ns, *aim.labels));
  }
}

// A policy over workloads that no ztunnel guards looks enforced and is not.
void check_policies_are_enforced(const Cluster& cluster, Findings& findings) {
  static const compile::Labels kAll;
  for (const Aim& aim : aims(cluster)) {
    if (aim.ns.empty() && aim.labels == nullptr) continue;  // the whole mesh
    const auto selected = cluster.matching(aim.ns, aim.labels != nullptr ? *aim.labels : kAll);
    if (selected.empty()) continue;
    const bool all_outside = std::ranges::all_of(
        selected, [](const Shape* shape) { return shape->mesh == Shape::Mesh::kOut; });
    if (!all_outside) continue;
    findings.add(kOutsideMesh, aim.key,
                 "is not enforced: none of the workloads that it selects is in the mesh (such as " +
                     origin_of(selected.front()->origin) +
                     "); label their namespace or pods istio.io/dataplane-mode=ambient");
  }
}

void check_one_peer_authentication(const Cluster& cluster, Findings& findings) {
  for (const auto& [ns, peers] : cluster.store().peers.all()) {
    std::vector<const PeerAuthentication*> wide;
    for (const auto& [name, peer] : peers) {
      if (peer->spec().selector().matchlabels().empty()) wide.push_back(peer.get());
    }
    if (wide.size() < 2) continue;
    for (const PeerAuthentication* peer : wide) {
      findings.add(kOnlyOldest, key_of("PeerAuthentication", peer->metadata()),
                   "is one of " + std::to_string(wide.size()) +
                       " without a selector in namespace " + ns + ": only the oldest counts");
    }
  }
}

}  // namespace weft::analyze
