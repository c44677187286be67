#include "agent/compile/peer_authentication.h"

#include "agent/objects/names.h"

#include <map>

namespace weft::compile {

namespace {

using crd::security::MutualTls;
using crd::security::PeerAuthentication;

bool is_older(const PeerAuthentication& left, const PeerAuthentication& right) {
  const auto age = [](const PeerAuthentication& object) {
    return objects::parse_time(object.metadata().creationtimestamp()).value_or(0);
  };
  if (age(left) != age(right)) return age(left) < age(right);
  return left.metadata().name() < right.metadata().name();
}

bool has_selector(const PeerAuthentication& object) {
  return !object.spec().selector().matchlabels().empty();
}

// The oldest of a namespace that selects: nothing in particular, or these labels.
const PeerAuthentication* oldest(const Store& store, const std::string& ns, const Labels* labels) {
  const PeerAuthentication* best = nullptr;
  for (const auto& [name, object] : store.peers.in(ns)) {
    if (has_selector(*object) != (labels != nullptr)) continue;
    if (labels != nullptr && !selects(object->spec().selector().matchlabels(), *labels)) continue;
    if (best == nullptr || is_older(*object, *best)) best = object.get();
  }
  return best;
}

MutualTls::Mode mode_of(const PeerAuthentication* object) {
  return object == nullptr ? MutualTls::UNSET : object->spec().mtls().mode();
}

// What holds in a namespace for workloads that say nothing themselves.
bool is_strict_by_default(const Store& store, const std::string& ns, const MeshConfig& config) {
  if (ns != config.root_namespace) {
    const MutualTls::Mode mode = mode_of(oldest(store, ns, nullptr));
    if (mode != MutualTls::UNSET) return mode == MutualTls::STRICT;
  }
  return mode_of(oldest(store, config.root_namespace, nullptr)) == MutualTls::STRICT;
}

// What an object with a selector asks of its workloads.
struct Demand {
  bool strict = false;          // on ports that it does not name
  std::vector<uint32_t> other;  // ports on which the opposite holds; sorted
};

Demand demand_of(const PeerAuthentication& object, const Store& store, const MeshConfig& config) {
  Demand demand;
  const MutualTls::Mode own = object.spec().mtls().mode();
  demand.strict = own == MutualTls::UNSET
                      ? is_strict_by_default(store, object.metadata().namespace_(), config)
                      : own == MutualTls::STRICT;
  const auto& ports = object.spec().portlevelmtls();
  for (const auto& [port, mtls] : std::map<uint32_t, MutualTls>(ports.begin(), ports.end())) {
    if (mtls.mode() == MutualTls::UNSET) continue;
    if ((mtls.mode() == MutualTls::STRICT) != demand.strict) demand.other.push_back(port);
  }
  return demand;
}

model::Match without_identity() {
  return {.not_principals = {{.kind = model::Pattern::Kind::kPresent, .text = {}}}};
}

std::string converted_key(const PeerAuthentication& object) {
  return object.metadata().namespace_() + "/" + kConvertedPrefix + object.metadata().name();
}

}  // namespace

model::Policy static_strict(const MeshConfig& config) {
  return {.name = kStaticStrictName,
          .ns = config.root_namespace,
          .scope = model::Policy::Scope::kSelected,
          .action = model::Policy::Action::kDeny,
          .rules = {{.all_of = {{.any_of = {without_identity()}}}}}};
}

bool needs_static_strict(const Store& store) {
  for (const auto& [ns, peers] : store.peers.all()) {
    for (const auto& [name, object] : peers) {
      if (object->spec().mtls().mode() == MutualTls::STRICT) return true;
    }
  }
  return false;
}

std::optional<model::Policy> compile_peer_authentication(const PeerAuthentication& object,
                                                         const Store& store,
                                                         const MeshConfig& config) {
  const std::string& ns = object.metadata().namespace_();
  if (!has_selector(object) || ns == config.root_namespace) return std::nullopt;
  const Demand demand = demand_of(object, store, config);
  if (demand.other.empty()) return std::nullopt;
  model::Policy policy{.name = kConvertedPrefix + object.metadata().name(),
                       .ns = ns,
                       .scope = model::Policy::Scope::kSelected,
                       .action = model::Policy::Action::kDeny,
                       .rules = {}};
  if (!demand.strict) {
    for (const uint32_t port : demand.other) {
      model::Match match = without_identity();
      match.ports = {port};
      policy.rules.push_back({.all_of = {{.any_of = {std::move(match)}}}});
    }
    return policy;
  }
  // No identity, and none of the ports that are excepted. The order of the clauses is istiod's.
  model::Rule rule;
  const model::Clause strict{.any_of = {without_identity()}};
  const bool is_own_mode = object.spec().mtls().mode() == MutualTls::STRICT;
  if (is_own_mode) rule.all_of.push_back(strict);
  for (const uint32_t port : demand.other) {
    rule.all_of.push_back({.any_of = {{.not_ports = {port}}}});
  }
  if (!is_own_mode) rule.all_of.push_back(strict);
  policy.rules.push_back(std::move(rule));
  return policy;
}

std::vector<std::string> peer_policies_of(const std::string& ns, const Labels& labels,
                                          const Store& store, const MeshConfig& config) {
  const PeerAuthentication* own =
      ns == config.root_namespace ? nullptr : oldest(store, ns, &labels);
  bool strict = false;
  if (own == nullptr) {
    strict = is_strict_by_default(store, ns, config);
  } else {
    const Demand demand = demand_of(*own, store, config);
    if (!demand.other.empty()) return {converted_key(*own)};
    strict = demand.strict;
  }
  if (!strict) return {};
  return {config.root_namespace + "/" + kStaticStrictName};
}

std::vector<std::string> notices_of(const PeerAuthentication& object, const MeshConfig& config) {
  std::vector<std::string> notices;
  if (has_selector(object) && object.metadata().namespace_() == config.root_namespace) {
    notices.emplace_back("has no effect: a selector in the root namespace selects nothing");
  }
  bool disables = object.spec().mtls().mode() == MutualTls::DISABLE;
  for (const auto& [port, mtls] : object.spec().portlevelmtls()) {
    disables |= mtls.mode() == MutualTls::DISABLE;
  }
  if (disables) {
    notices.emplace_back(
        "DISABLE is taken for PERMISSIVE: plain text is accepted, and workloads of the mesh go on "
        "talking mutual TLS");
  }
  return notices;
}

}  // namespace weft::compile
