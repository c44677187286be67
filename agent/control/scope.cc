#include "agent/control/scope.h"

#include "agent/compile/outbound_policy.h"
#include "agent/objects/mesh_config.h"

#include <algorithm>
#include <iterator>
#include <tuple>

namespace weft::control {
namespace {

constexpr const char* kRevisionLabel = "istio.io/rev";

using Labels = google::protobuf::Map<std::string, std::string>;

// Of Istio's groups and of the Gateway API's: what more than one control plane could act on.
bool has_revision(const objects::Object& object) {
  const std::string_view version = object.api_version();
  const std::string_view group = version.substr(0, version.find('/'));
  return group.ends_with(".istio.io") || group == "gateway.networking.k8s.io";
}

bool meets(const crd::mesh::LabelSelectorRequirement& requirement, const Labels& labels) {
  const auto found = labels.find(requirement.key());
  const bool is_there = found != labels.end();
  const auto is_named = [&] {
    return std::ranges::find(requirement.values(), found->second) != requirement.values().end();
  };
  const std::string& operation = requirement.operator_();
  if (operation == "In") return is_there && is_named();
  if (operation == "NotIn") return !is_there || !is_named();
  if (operation == "Exists") return is_there;
  if (operation == "DoesNotExist") return !is_there;
  return false;
}

}  // namespace

bool selects(const crd::mesh::LabelSelector& selector, const Labels& labels) {
  return std::ranges::all_of(selector.matchlabels(),
                             [&](const auto& wanted) {
                               const auto found = labels.find(wanted.first);
                               return found != labels.end() && found->second == wanted.second;
                             }) &&
         std::ranges::all_of(selector.matchexpressions(),
                             [&](const auto& one) { return meets(one, labels); });
}

// One object, by its kind and name: what a namespace's ordered set is looked up by.
struct Scope::ByName {
  using is_transparent = void;
  using Name = std::pair<std::string_view, std::string_view>;
  static Name name_of(const Name& name) { return name; }
  static Name name_of(const Held& held);
  template <class A, class B>
  bool operator()(const A& a, const B& b) const {
    return name_of(a) < name_of(b);
  }
};

struct Scope::Held {
  std::string_view kind;  // of a Key; interned
  std::shared_ptr<const objects::Object> object;
  mutable bool is_told = false;
};

Scope::ByName::Name Scope::ByName::name_of(const Held& held) {
  return {held.kind, held.object->metadata().name()};
}

struct Scope::Space {
  std::shared_ptr<const objects::Object> self;  // null: no such namespace is known
  std::set<Held, ByName> objects;
  bool has_changed = false;
};

namespace {

// The texts of kinds, of which there are two dozen: not one for each of 50 000 objects.
std::string_view interned(const std::string& kind) {
  static std::set<std::string, std::less<>> kinds;
  return *kinds.insert(kind).first;
}

}  // namespace

Scope::Scope(Config config) : config_(std::move(config)) {}

Scope::~Scope() = default;

Scope::Space& Scope::space(const std::string& ns) {
  auto& found = spaces_[ns];
  if (!found) found = std::make_unique<Space>();
  return *found;
}

std::vector<source::Change> Scope::filter(std::vector<source::Change> changes) {
  touched_.clear();
  selectors_changed_ = false;
  std::vector<source::Change> out;
  std::vector<source::Change> others;
  // First what decides about the rest.
  for (source::Change& change : changes) {
    const bool is_config = compile::is_mesh_config(config_.mesh, change.key);
    if (is_config) read_selectors(change.object.get());
    if (change.key.kind == "Namespace") take_in(change);
    (is_config || change.key.ns.empty() ? out : others).push_back(std::move(change));
  }
  for (const source::Change& change : others) {
    Space& in = space(change.key.ns);
    const ByName::Name name(change.key.kind, change.key.name);
    const auto before = in.objects.find(name);
    const bool was_told = before != in.objects.end() && before->is_told;
    if (before != in.objects.end()) in.objects.erase(before);
    const bool is_told = change.object != nullptr && is_in(in, *change.object);
    if (change.object) in.objects.insert({interned(change.key.kind), change.object, is_told});
    if (is_told) {
      out.push_back(change);
    } else if (was_told) {
      out.push_back({change.key, nullptr});
    }
  }
  for (auto at = spaces_.begin(); at != spaces_.end();) {
    const auto next = std::next(at);
    if (selectors_changed_ || at->second->has_changed) look_again(at->first, out);
    if (!at->second->self && at->second->objects.empty()) spaces_.erase(at);
    at = next;
  }
  return out;
}

void Scope::take_in(const source::Change& change) {
  Space& own = space(change.key.name);
  own.self = change.object;
  own.has_changed = true;
  touched_.insert(change.key.name);
}

void Scope::look_again(const std::string& ns, std::vector<source::Change>& out) {
  Space& in = *spaces_.at(ns);
  in.has_changed = false;
  touched_.insert(ns);
  for (const Held& held : in.objects) {
    const bool is_told = is_in(in, *held.object);
    if (is_told == held.is_told) continue;
    held.is_told = is_told;
    out.push_back({{std::string(held.kind), ns, held.object->metadata().name()},
                   is_told ? held.object : nullptr});
  }
}

bool Scope::wants_roots(const std::string& ns) const {
  const auto found = spaces_.find(ns);
  if (found == spaces_.end() || !found->second->self) return false;
  if (ns == config_.own_namespace) return true;
  const bool is_system = ns == "kube-system" || ns == "kube-public" || ns == "kube-node-lease";
  return !is_system && is_selected(ns) &&
         (config_.revision.empty() || is_ours(found->second->self->metadata().labels()));
}

bool Scope::is_ours(const Labels& labels) const {
  const auto found = labels.find(kRevisionLabel);
  return found != labels.end() && found->second == config_.revision;
}

bool Scope::is_selected(const std::string& ns) const {
  if (selectors_.empty() || ns == config_.mesh.root_namespace || ns == config_.own_namespace) {
    return true;
  }
  const auto found = spaces_.find(ns);
  if (found == spaces_.end() || !found->second->self) return false;
  const Labels& labels = found->second->self->metadata().labels();
  return std::ranges::any_of(selectors_,
                             [&](const auto& selector) { return selects(selector, labels); });
}

bool Scope::is_in(const Space& in, const objects::Object& object) const {
  if (!selectors_.empty() && !is_selected(object.metadata().namespace_())) return false;
  if (config_.revision.empty() || !has_revision(object)) return true;
  const Labels& own = object.metadata().labels();
  if (own.contains(kRevisionLabel)) return is_ours(own);
  return in.self && is_ours(in.self->metadata().labels());
}

void Scope::read_selectors(const objects::Object* object) {
  crd::mesh::MeshConfig mesh;
  if (const auto* map = object == nullptr ? nullptr : object->as<crd::core::ConfigMap>()) {
    mesh = objects::mesh_config_of(*map);
  }
  selectors_.assign(mesh.discoveryselectors().begin(), mesh.discoveryselectors().end());
  selectors_changed_ = true;
}

}  // namespace weft::control
