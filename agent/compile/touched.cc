#include "agent/compile/touched.h"

#include "agent/compile/authorization_policy.h"
#include "agent/compile/service.h"

namespace weft::compile {

namespace {

// Every name of a namespace for which `wanted` is true.
template <class T, class Wanted>
void add_in(const Table<T>& table, const std::string& ns, Touched::Names& names, Wanted wanted) {
  for (const auto& [name, object] : table.in(ns)) {
    if (wanted(*object)) names.emplace(ns, name);
  }
}

constexpr auto kEach = [](const auto&) { return true; };

void add_policy(const crd::security::AuthorizationPolicy& policy, const Store& store,
                const MeshConfig& config, Touched::Names& pods) {
  if (!is_by_selector(policy)) return;
  const std::string& own = policy.metadata().namespace_();
  const auto add = [&](const std::string& ns) {
    add_in(store.pods, ns, pods, [&](const crd::core::Pod& pod) {
      return applies_to(policy, ns, pod.metadata().labels(), config);
    });
  };
  if (own != config.root_namespace) return add(own);
  for (const auto& [ns, in_namespace] : store.pods.all()) add(ns);
}

void add_peer(const crd::security::PeerAuthentication& peer, const Store& store,
              const MeshConfig& config, Touched& touched) {
  const std::string& own = peer.metadata().namespace_();
  const Labels& selector = peer.spec().selector().matchlabels();
  if (!selector.empty()) {
    add_in(store.pods, own, touched.pods,
           [&](const crd::core::Pod& pod) { return selects(selector, pod.metadata().labels()); });
    return;
  }
  const auto add_namespace = [&](const std::string& ns) {
    add_in(store.pods, ns, touched.pods, kEach);
    add_in(store.peers, ns, touched.peers, kEach);
  };
  if (own != config.root_namespace) return add_namespace(own);
  for (const auto& [ns, pods] : store.pods.all()) add_namespace(ns);
  for (const auto& [ns, peers] : store.peers.all()) {
    add_in(store.peers, ns, touched.peers, kEach);
  }
}

}  // namespace

void Touched::add(const objects::Object& object, const Store& store, const MeshConfig& config) {
  const objects::Key key = object.key();
  const std::pair<std::string, std::string> own(key.ns, key.name);
  if (object.as<crd::core::Pod>() != nullptr) {
    pods.insert(own);
  } else if (const auto* service = object.as<crd::core::Service>()) {
    services.insert(own);
    add_in(store.pods, key.ns, pods,
           [&](const crd::core::Pod& pod) { return has_endpoint(*service, pod); });
  } else if (object.as<crd::core::Namespace>() != nullptr) {
    add_in(store.pods, key.name, pods, kEach);
  } else if (const auto* policy = object.as<crd::security::AuthorizationPolicy>()) {
    policies.insert(own);
    add_policy(*policy, store, config, pods);
  } else if (const auto* peer = object.as<crd::security::PeerAuthentication>()) {
    peers.insert(own);
    add_peer(*peer, store, config, *this);
  }
}

}  // namespace weft::compile
