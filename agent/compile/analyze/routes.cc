#include "agent/compile/analyze/checks.h"
#include "agent/compile/l7/backend.h"
#include "agent/compile/l7/destination_rules.h"
#include "agent/compile/l7/hosts.h"
#include "agent/compile/l7/http_match.h"
#include "agent/compile/l7/virtual_services.h"

#include <algorithm>
#include <map>

namespace weft::analyze {

namespace {

using crd::networking::Destination;
using crd::networking::VirtualService;

objects::Key key_of(const VirtualService& object) {
  return {"VirtualService", object.metadata().namespace_(), object.metadata().name()};
}

void for_each_virtual_service(const Cluster& cluster,
                              const std::function<void(const VirtualService&)>& call) {
  for (const auto& [ns, objects] : cluster.store().virtual_services.all()) {
    for (const auto& [name, object] : objects) call(*object);
  }
}

void for_each_destination(const VirtualService& object,
                          const std::function<void(const Destination&)>& call) {
  for (const auto& rule : object.spec().http()) {
    for (const auto& route : rule.route()) call(route.destination());
    if (rule.has_mirror()) call(rule.mirror());
    for (const auto& mirror : rule.mirrors()) call(mirror.destination());
  }
  for (const auto& rule : object.spec().tcp()) {
    for (const auto& route : rule.route()) call(route.destination());
  }
  for (const auto& rule : object.spec().tls()) {
    for (const auto& route : rule.route()) call(route.destination());
  }
}

void check_subset(const Cluster& cluster, const VirtualService& object, const Destination& to,
                  const l7::Backend& backend, Findings& findings) {
  if (to.subset().empty()) return;
  const auto rule = l7::rule_for(backend.name(), {object.metadata().namespace_(), {}},
                                 cluster.store(), cluster.config());
  const bool known = rule && std::ranges::any_of(rule->subsets, [&](const auto* subset) {
                       return subset->name() == to.subset();
                     });
  if (known) return;
  findings.add(
      kMissing, key_of(object),
      "host+subset in destinationrule not found: \"" + to.host() + "+" + to.subset() + "\"");
}

void check_port(const VirtualService& object, const Destination& to, const l7::Backend& backend,
                Findings& findings) {
  if (to.port().number() != 0 || backend.ports.size() < 2) return;
  std::string ports;
  for (const auto& port : backend.ports) {
    ports += (ports.empty() ? "" : " ") + std::to_string(port.number);
  }
  findings.add(kPortRequired, key_of(object),
               "This VirtualService routes to a service \"" + to.host() +
                   "\" that exposes multiple ports [" + ports +
                   "]. Specifying a port in the destination is required to disambiguate.");
}

std::string name_of(const crd::networking::HttpRoute& rule, int index) {
  return rule.name().empty() ? "#" + std::to_string(index) : rule.name();
}

bool matches_everything(const crd::networking::HttpRoute& rule) {
  return rule.match().empty() || std::ranges::any_of(rule.match(), [](const auto& match) {
           const auto compiled = match.port() == 0 ? l7::compile_match(match, 0) : std::nullopt;
           return compiled && l7::is_catch_all(*compiled);
         });
}

// Conditions that earlier rules have too: nothing is left for them.
void check_rules(const VirtualService& object, Findings& findings) {
  std::map<std::string, std::string> seen;  // conditions, and the rule that has them first
  std::string catch_all;
  for (int i = 0; i < object.spec().http_size(); ++i) {
    const auto& rule = object.spec().http(i);
    const std::string name = name_of(rule, i);
    if (!catch_all.empty()) {
      findings.add(kUnreachableRule, key_of(object),
                   "VirtualService rule " + name + " not used (rule " + catch_all +
                       " before it matches everything).");
      continue;
    }
    int again = 0;
    for (int k = 0; k < rule.match_size(); ++k) {
      crd::networking::HttpMatch bare = rule.match(k);
      bare.clear_name();
      const auto [first, is_new] = seen.emplace(bare.DebugString(), name);
      if (is_new) continue;
      ++again;
      findings.add(kIneffectiveMatch, key_of(object),
                   "VirtualService rule " + name + " match #" + std::to_string(k) +
                       " is not used (duplicate/overlapping match in rule " + first->second + ").");
    }
    if (again > 0 && again == rule.match_size()) {
      findings.add(kUnreachableRule, key_of(object),
                   "VirtualService rule " + name + " not used (all matches used by prior rules).");
    }
    if (matches_everything(rule)) catch_all = name;
  }
}

}  // namespace

void check_virtual_services(const Cluster& cluster, Findings& findings) {
  for_each_virtual_service(cluster, [&](const VirtualService& object) {
    const std::string& ns = object.metadata().namespace_();
    for_each_destination(object, [&](const Destination& to) {
      const std::string host = l7::full_host(to.host(), ns, cluster.config().cluster_domain);
      const auto backend = l7::find_backend(host, ns, cluster.store(), cluster.config());
      if (!backend) return;  // check_route_hosts says so
      check_subset(cluster, object, to, *backend, findings);
      check_port(object, to, *backend, findings);
    });
    check_rules(object, findings);
  });
}

void check_conflicting_hosts(const Cluster& cluster, Findings& findings) {
  std::map<std::pair<std::string, std::string>, std::vector<const VirtualService*>> by_host;
  for_each_virtual_service(cluster, [&](const VirtualService& object) {
    for (const auto& host : l7::mesh_hosts_of(object, cluster.config().cluster_domain)) {
      by_host[{object.metadata().namespace_(), host}].push_back(&object);
    }
  });
  for (const auto& [host, objects] : by_host) {
    if (objects.size() < 2) continue;
    std::string names;
    for (const auto* object : objects) {
      names += (names.empty() ? "" : ",") + object->metadata().namespace_() + "/" +
               object->metadata().name();
    }
    for (const auto* object : objects) {
      findings.add(kConflictingHosts, key_of(*object),
                   "The VirtualServices " + names +
                       " associated with mesh gateway define the same host " + host.second +
                       " which can lead to undefined behavior. This can be fixed by merging the "
                       "conflicting VirtualServices into a single resource.");
    }
  }
}

void check_subsets_select(const Cluster& cluster, Findings& findings) {
  for (const auto& [ns, rules] : cluster.store().destination_rules.all()) {
    for (const auto& [name, rule] : rules) {
      const std::string host =
          l7::full_host(rule->spec().host(), ns, cluster.config().cluster_domain);
      const auto backend = l7::find_backend(host, ns, cluster.store(), cluster.config());
      if (!backend || backend->service == nullptr || !cluster.knows_pods_of(backend->ns)) continue;
      const auto pods = cluster.matching(backend->ns, backend->service->spec().selector());
      if (pods.empty()) continue;  // then the Service selects none either, and that is said of it
      for (const auto& subset : rule->spec().subsets()) {
        const bool selects = std::ranges::any_of(pods, [&](const Shape* shape) {
          return compile::selects(subset.labels(), shape->pod.metadata().labels());
        });
        if (selects) continue;
        findings.add(kSubsetSelectsNothing, {"DestinationRule", ns, name},
                     "The Subset " + subset.name() +
                         " defined in the DestinationRule does not select any pods.");
      }
    }
  }
}

}  // namespace weft::analyze
