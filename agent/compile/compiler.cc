#include "agent/compile/compiler.h"

#include "agent/compile/authorization_policy.h"
#include "agent/compile/endpoint_slice.h"
#include "agent/compile/l7/notices.h"
#include "agent/compile/l7/telemetry.h"
#include "agent/compile/l7/waypoint_routes.h"
#include "agent/compile/notices.h"
#include "agent/compile/outbound_policy.h"
#include "agent/compile/peer_authentication.h"
#include "agent/compile/service.h"
#include "agent/compile/service_entry.h"
#include "agent/compile/store.h"
#include "agent/compile/touched.h"
#include "agent/compile/vip_allocation.h"
#include "agent/compile/waypoint_binding.h"
#include "agent/compile/wire.h"
#include "agent/compile/workload.h"
#include "agent/compile/workload_entry.h"

#include <algorithm>
#include <iterator>
#include <optional>

namespace weft::compile {

namespace {

using Resources = std::map<std::string, Resource>;  // by name

// What is to be said of one apply(), sorted into the order in which it is safe to hear it.
struct Announcement {
  std::vector<Resource> authorizations;
  std::vector<Resource> services;
  std::vector<Resource> workloads;
  std::vector<Resource> routes;  // after what they name
  std::vector<Resource> removed_routes;
  // Authorizations that applied to a whole namespace and now only to workloads that name them:
  // these must name them first, or for a moment the policy would apply to nobody.
  std::vector<Resource> narrowed;
  std::vector<Resource> removed_addresses;
  std::vector<Resource> removed_authorizations;

  std::vector<Resource> take() {
    std::vector<Resource> all = std::move(authorizations);
    for (auto* part : {&services, &workloads, &routes, &narrowed, &removed_routes,
                       &removed_addresses, &removed_authorizations}) {
      all.insert(all.end(), std::make_move_iterator(part->begin()),
                 std::make_move_iterator(part->end()));
    }
    return all;
  }
};

// Puts one resource in its table; says what changed.
void settle(Resources& table, const std::string& name, std::optional<Resource> now,
            std::vector<Resource>& changed, std::vector<Resource>& removed) {
  const auto before = table.find(name);
  if (!now) {
    if (before == table.end()) return;
    removed.push_back(removal_of(before->second));
    table.erase(before);
    return;
  }
  if (before != table.end() && before->second.version == now->version) return;
  table.insert_or_assign(name, *now);
  changed.push_back(std::move(*now));
}

// A kubelet writes its Node's status every few seconds; only labels say where it stands.
bool is_only_status(const objects::Object& before, const objects::Object& now) {
  const auto* old_node = before.as<crd::core::Node>();
  const auto* new_node = now.as<crd::core::Node>();
  if (old_node == nullptr || new_node == nullptr) return false;
  const Labels& labels = new_node->metadata().labels();
  return labels.size() == old_node->metadata().labels().size() &&
         selects(old_node->metadata().labels(), labels);
}

}  // namespace

struct Compiler::Impl {
  using Name = std::pair<std::string, std::string>;
  struct Place {
    std::string node;
    SpiffeId identity;
  };

  MeshConfig given;   // to the process
  MeshConfig config;  // in force: with what the mesh's ConfigMap changes
  Store store;
  VipAllocation vips;
  l7::WaypointRoutes waypoint_routes;
  l7::WaypointTelemetry waypoint_telemetry;
  Resources authorizations;
  Resources services;
  Resources workloads;
  std::set<std::string> wide;  // authorizations that no workload has to name
  std::map<objects::Key, std::shared_ptr<const objects::Object>> present;
  std::map<objects::Key, std::vector<std::string>> notices;
  std::map<Name, Place> places;
  std::map<std::string, std::map<SpiffeId, size_t>> pods_by_identity;  // by node
  std::map<objects::Key, std::set<std::string>> uids;  // of objects that make several workloads

  void take_in(const source::Change& change, bool is_first, Touched& touched);
  void compile_pod(const Name& name, Announcement& out);
  void compile_workload_entry(const Name& name, Announcement& out);
  void compile_service(const Name& name, Announcement& out);
  void settle_workload(const std::string& uid, const std::optional<model::Workload>& workload,
                       Announcement& out);
  void settle_workloads(const objects::Key& of, const std::vector<model::Workload>& made,
                        Announcement& out);
  void compile_workloads(const Touched& touched, Announcement& out);
  void compile_routes(const Touched& touched, Announcement& out);
  void allocate(Touched& touched);
  void settle_policy(const std::string& key, const std::optional<model::Policy>& policy,
                     Announcement& out);
  void compile_policies(const Touched& touched, Announcement& out);
  void place(const Name& name, const crd::core::Pod* pod);
};

// In the first batch everything is touched: whom an object concerns need not be asked for each.
// Only a ServiceEntry has hosts of its own, and a ConfigMap says what the mesh is.
void Compiler::Impl::take_in(const source::Change& change, bool is_first, Touched& touched) {
  if (change.key.kind == "Telemetry") waypoint_telemetry.touch();
  const auto before = present.find(change.key);
  if (before != present.end() && change.object != nullptr &&
      is_only_status(*before->second, *change.object)) {
    return;
  }
  if (before != present.end()) {
    touched.add(*before->second, store, config);
    waypoint_routes.touch(*before->second, config);
  }
  store.put(change.key, change.object);
  notices.erase(change.key);
  if (change.object == nullptr) {
    if (before != present.end()) present.erase(before);
    return;
  }
  const bool says_more = change.key.kind == "ServiceEntry" || change.key.kind == "ConfigMap";
  if (!is_first || says_more) touched.add(*change.object, store, config);
  present[change.key] = change.object;
  waypoint_routes.touch(*change.object, config);
  std::vector<std::string> about = notices_about(*change.object, config);
  if (!about.empty()) notices[change.key] = std::move(about);
}

void Compiler::Impl::place(const Name& name, const crd::core::Pod* pod) {
  const auto before = places.find(name);
  if (before != places.end()) {
    auto& identities = pods_by_identity[before->second.node];
    if (--identities[before->second.identity] == 0) identities.erase(before->second.identity);
    if (identities.empty()) pods_by_identity.erase(before->second.node);
    places.erase(before);
  }
  if (pod == nullptr) return;
  const auto now = identity_on_node(*pod, store, config);
  if (!now) return;
  places[name] = {now->first, now->second};
  ++pods_by_identity[now->first][now->second];
}

void Compiler::Impl::settle_workload(const std::string& uid,
                                     const std::optional<model::Workload>& workload,
                                     Announcement& out) {
  settle(workloads, uid, workload ? std::optional(to_resource(*workload)) : std::nullopt,
         out.workloads, out.removed_addresses);
}

void Compiler::Impl::settle_workloads(const objects::Key& of,
                                      const std::vector<model::Workload>& made, Announcement& out) {
  std::set<std::string> now;
  for (const model::Workload& workload : made) {
    settle_workload(workload.uid, workload, out);
    now.insert(workload.uid);
  }
  for (const std::string& uid : uids[of]) {
    if (!now.contains(uid)) settle_workload(uid, std::nullopt, out);
  }
  uids[of] = std::move(now);
  if (uids[of].empty()) uids.erase(of);
}

void Compiler::Impl::compile_pod(const Name& name, Announcement& out) {
  const crd::core::Pod* pod = store.pods.find(name.first, name.second);
  place(name, pod);
  settle_workload(workload_uid(name.first, name.second, config),
                  pod == nullptr ? std::nullopt : compile_workload(*pod, store, config), out);
}

void Compiler::Impl::compile_workload_entry(const Name& name, Announcement& out) {
  const auto* entry = store.workload_entries.find(name.first, name.second);
  settle_workload(
      workload_entry_uid(name.first, name.second, config),
      entry == nullptr ? std::nullopt : compile::compile_workload_entry(*entry, store, config),
      out);
}

void Compiler::Impl::compile_service(const Name& name, Announcement& out) {
  const std::string key = name.first + "/" + name.second;
  const HostOwner owner = owner_of(name.first, name.second, store, config);
  std::optional<Resource> resource;
  if (owner.service != nullptr) {
    model::Service service = compile::compile_service(*owner.service, config);
    service.waypoint = waypoint_address(*owner.service, store, config);
    resource = to_resource(service);
  } else if (owner.entry != nullptr) {
    const auto allocated = wants_addresses(*owner.entry) ? vips.of(key) : std::vector<Cidr>();
    model::Service host = compile_host(*owner.entry, name.second, allocated);
    host.waypoint = waypoint_address(*owner.entry, store, config);
    resource = to_resource(host);
  }
  settle(services, key, std::move(resource), out.services, out.removed_addresses);
}

void Compiler::Impl::compile_workloads(const Touched& touched, Announcement& out) {
  for (const auto& name : touched.pods) compile_pod(name, out);
  for (const auto& name : touched.workload_entries) compile_workload_entry(name, out);
  for (const auto& [ns, name] : touched.service_entries) {
    const auto* entry = store.service_entries.find(ns, name);
    settle_workloads({"ServiceEntry", ns, name},
                     entry == nullptr ? std::vector<model::Workload>()
                                      : compile_endpoints(*entry, store, config),
                     out);
  }
  for (const auto& [ns, name] : touched.slices) {
    const auto* slice = store.slices.find(ns, name);
    settle_workloads(
        {"EndpointSlice", ns, name},
        slice == nullptr ? std::vector<model::Workload>() : compile_slice(*slice, store, config),
        out);
  }
}

void Compiler::Impl::compile_routes(const Touched& touched, Announcement& out) {
  for (const Name& service : touched.services) waypoint_routes.touch(service);
  if (touched.mesh) waypoint_routes.touch_everything();
  l7::Changes changes = waypoint_routes.compile(store, config);
  out.routes = std::move(changes.set);
  out.removed_routes = std::move(changes.removed);
  for (const Name& service : touched.services) waypoint_telemetry.touch(service);
  if (touched.mesh) waypoint_telemetry.touch();
  l7::WaypointTelemetry::Changes reports = waypoint_telemetry.compile(store, config);
  std::ranges::move(reports.set, std::back_inserter(out.routes));
  std::ranges::move(reports.removed, std::back_inserter(out.removed_routes));
}

// Hosts whose allocated addresses are others now.
void Compiler::Impl::allocate(Touched& touched) {
  if (!touched.vips) return;
  for (const std::string& key : vips.update(vip_claims(store))) {
    const size_t slash = key.find('/');
    touched.services.emplace(key.substr(0, slash), key.substr(slash + 1));
  }
}

void Compiler::Impl::settle_policy(const std::string& key,
                                   const std::optional<model::Policy>& policy, Announcement& out) {
  const bool was_wide = wide.erase(key) > 0;
  const bool is_wide = policy && policy->scope != model::Policy::Scope::kSelected;
  if (is_wide) wide.insert(key);
  settle(authorizations, key, policy ? std::optional(to_resource(*policy)) : std::nullopt,
         was_wide && policy && !is_wide ? out.narrowed : out.authorizations,
         out.removed_authorizations);
}

void Compiler::Impl::compile_policies(const Touched& touched, Announcement& out) {
  for (const auto& [ns, name] : touched.policies) {
    const auto* object = store.policies.find(ns, name);
    settle_policy(ns + "/" + name,
                  object == nullptr ? std::nullopt : compile_policy(*object, config).policy, out);
  }
  for (const auto& [ns, name] : touched.peers) {
    const auto* object = store.peers.find(ns, name);
    settle_policy(
        ns + "/" + kConvertedPrefix + name,
        object == nullptr ? std::nullopt : compile_peer_authentication(*object, store, config),
        out);
  }
  if (touched.peers.empty()) return;
  settle_policy(config.root_namespace + "/" + kStaticStrictName,
                needs_static_strict(store) ? std::optional(static_strict(config)) : std::nullopt,
                out);
}

Compiler::Compiler(MeshConfig config) : impl_(std::make_unique<Impl>()) {
  impl_->given = config;
  impl_->store.cluster_domain = config.cluster_domain;
  impl_->config = std::move(config);
}

Compiler::~Compiler() = default;

std::vector<Resource> Compiler::apply(const std::vector<source::Change>& changes) {
  Touched touched;
  const bool is_first = impl_->present.empty();
  for (const source::Change& change : changes) impl_->take_in(change, is_first, touched);
  if (touched.mesh) impl_->config = configured(impl_->given, impl_->store);
  if (touched.mesh || is_first) touched.add_everything(impl_->store, impl_->config);
  impl_->allocate(touched);
  Announcement out;
  impl_->compile_policies(touched, out);
  for (const auto& name : touched.services) impl_->compile_service(name, out);
  impl_->compile_workloads(touched, out);
  impl_->compile_routes(touched, out);
  return out.take();
}

std::vector<Resource> Compiler::all() const {
  std::vector<Resource> resources;
  const std::initializer_list<const Resources*> tables = {
      &impl_->authorizations, &impl_->services, &impl_->workloads,
      &impl_->waypoint_routes.policies(), &impl_->waypoint_routes.resources(),
      &impl_->waypoint_telemetry.resources()};
  for (const Resources* table : tables) {
    for (const auto& [name, resource] : *table) resources.push_back(resource);
  }
  return resources;
}

std::vector<Notice> Compiler::notices() const {
  std::vector<Notice> all;
  const auto add = [&](const objects::Key& key, const std::vector<std::string>& messages) {
    for (const std::string& message : messages) all.push_back({key, message});
  };
  for (const auto& [key, object] : impl_->present) {
    const auto own = impl_->notices.find(key);
    if (own != impl_->notices.end()) add(key, own->second);
    if (l7::is_l7(*object)) add(key, l7::notices_about(*object, impl_->store, impl_->config));
  }
  return all;
}

bool Compiler::node_runs(const std::string& node, const SpiffeId& identity) const {
  const auto found = impl_->pods_by_identity.find(node);
  return found != impl_->pods_by_identity.end() && found->second.contains(identity);
}

bool Compiler::has_waypoint(const std::string& ns, const std::string& name) const {
  const auto* gateway = impl_->store.gateways.find(ns, name);
  return gateway != nullptr && is_waypoint(*gateway);
}

}  // namespace weft::compile
