#include "agent/compile/analyze/explainer.h"
#include "agent/compile/analyze/finding.h"
#include "agent/compile/membership.h"
#include "agent/compile/outbound_policy.h"
#include "agent/compile/service.h"
#include "agent/compile/service_entry.h"
#include "agent/compile/vip_allocation.h"
#include "agent/compile/workload_entry.h"

#include <algorithm>

namespace weft::analyze {

namespace core = crd::core;
using crd::networking::ServiceEntry;
using crd::networking::ServiceEntrySpec;

namespace {

bool is_ready(const core::Pod& pod) {
  for (const core::PodCondition& condition : pod.status().conditions()) {
    if (condition.type() == "Ready") return condition.status() == "True";
  }
  return true;
}

bool is_visible(const ServiceEntry& entry, const std::string& from_ns) {
  const std::string& own = entry.metadata().namespace_();
  return compile::is_served(entry) &&
         (own == from_ns ||
          compile::export_of(entry.spec().exportto(), own) == compile::Export::kAll);
}

bool covers(const std::string& pattern, const std::string& host) {
  if (!pattern.starts_with("*.")) return pattern == host;
  return host.size() > pattern.size() - 1 && host.ends_with(pattern.substr(1));
}

// The host of a ServiceEntry that a name or an address means to pods of a namespace.
struct FoundHost {
  const ServiceEntry* entry = nullptr;
  std::string host;
};

// Of the own namespace before others, whole names before wildcards.
template <class Means>
FoundHost find_host(const compile::Store& store, const std::string& from_ns, Means means) {
  FoundHost found;
  for (const bool own : {true, false}) {
    for (const auto& [ns, entries] : store.service_entries.all()) {
      if ((ns == from_ns) != own) continue;
      for (const auto& [name, entry] : entries) {
        if (!is_visible(*entry, from_ns)) continue;
        for (const std::string& host : compile::hosts_of(*entry)) {
          if (!means(*entry, host)) continue;
          if (!host.starts_with('*')) return {entry.get(), host};
          if (found.entry == nullptr) found = {entry.get(), host};
        }
      }
    }
  }
  return found;
}

std::string join(const std::vector<Cidr>& addresses) {
  std::string text;
  for (const Cidr& address : addresses) {
    const bool whole = address.length() == (address.address().is_v4() ? 32U : 128U);
    text +=
        (text.empty() ? "" : ", ") + (whole ? address.address().to_string() : address.to_string());
  }
  return text;
}

std::vector<Cidr> addresses_of(const ServiceEntry& entry, const std::string& host,
                               const compile::Store& store) {
  std::vector<Cidr> given = compile::addresses_given(entry, host);
  if (!given.empty() || !compile::wants_addresses(entry)) return given;
  compile::VipAllocation allocation;
  allocation.update(compile::vip_claims(store));
  return allocation.of(entry.metadata().namespace_() + "/" + host);
}

}  // namespace

bool Explainer::to_named() {
  const std::string& ns = question_.to.ns.empty() ? from_->origin.ns : question_.to.ns;
  if (const auto* service = cluster_.store().services.find(ns, question_.to.name)) {
    to_service(*service);
  } else if (const Shape* to = find_shape(cluster_, ns, question_.to.name)) {
    to_workload(*to, question_.port);
  } else {
    return false;
  }
  return true;
}

bool Explainer::to_host(const std::string& host) {
  const FoundHost found =
      find_host(cluster_.store(), from_->origin.ns,
                [&](const ServiceEntry&, const std::string& one) { return covers(one, host); });
  if (found.entry == nullptr) return false;
  to_entry(*found.entry, found.host);
  return true;
}

// In the order in which ztunnel looks: a service's address, a workload's, a service's range.
void Explainer::to_address(const IpAddress& address) {
  const compile::Store& store = cluster_.store();
  for (const auto& [ns, services] : store.services.all()) {
    for (const auto& [name, service] : services) {
      const auto compiled = compile::compile_service(*service, cluster_.config());
      for (const Cidr& own : compiled.addresses) {
        if (own.address() == address) return to_service(*service);
      }
    }
  }
  const auto in_entries = [&](bool whole) {
    return find_host(store, from_->origin.ns, [&](const ServiceEntry& entry, const auto& host) {
      return std::ranges::any_of(addresses_of(entry, host, store), [&](const Cidr& range) {
        const bool is_whole = range.length() == (range.address().is_v4() ? 32U : 128U);
        return is_whole == whole && range.contains(address);
      });
    });
  };
  if (const auto found = in_entries(true); found.entry != nullptr) {
    return to_entry(*found.entry, found.host);
  }
  for (const Shape& shape : cluster_.running()) {
    if (address_of(shape.pod) == address) return to_workload(shape, question_.port);
  }
  if (const auto found = in_entries(false); found.entry != nullptr) {
    return to_entry(*found.entry, found.host);
  }
  pass("to " + address.to_string() + ", port " + std::to_string(question_.port) +
       ", which the mesh does not know");
}

// What the mesh does not know, or leaves to the client.
void Explainer::pass(const std::string& what) {
  say(what);
  const bool closed = from_->mesh != Shape::Mesh::kOut &&
                      compile::is_registry_only(from_->origin.ns, from_->pod.metadata().labels(),
                                                cluster_.store(), cluster_.config());
  if (closed) {
    return conclude(Answer::kNo,
                    "outboundTrafficPolicy is REGISTRY_ONLY: if it may be connected to, add a "
                    "ServiceEntry with its address");
  }
  say("  carried as plain text, to the address itself");
  conclude(Answer::kYes, "outboundTrafficPolicy is ALLOW_ANY");
}

void Explainer::say_balancing(const model::Service& service) {
  switch (service.preference) {
    case model::Preference::kSameZone:
      say("  balancing: prefers endpoints of the client's zone, then of its region");
      break;
    case model::Preference::kSameNode:
      say("  balancing: prefers endpoints on the client's node, then of its zone, then of its "
          "region");
      break;
    case model::Preference::kOnlySameNode:
      say("  balancing: only endpoints on the client's node");
      break;
    default:
      break;
  }
  if (service.affinity_timeout_s > 0) {
    say("  balancing: always the same endpoint for one client address (ClientIP)");
  }
}

void Explainer::through(const std::optional<compile::WaypointName>& waypoint) {
  waypoint_.reset();
  if (!waypoint || from_->mesh == Shape::Mesh::kOut) return;
  waypoint_ = SpiffeId{cluster_.config().trust_domain, waypoint->ns, waypoint->name};
  const auto* gateway = cluster_.store().gateways.find(waypoint->ns, waypoint->name);
  if (gateway == nullptr) {
    say("through the waypoint " + waypoint->to_string() +
        ", which does not exist: `weft waypoint apply -n " + waypoint->ns + " --name " +
        waypoint->name + "` makes it");
    return conclude(Answer::kNo, "what is to pass a waypoint never goes past it");
  }
  say("through the waypoint " + waypoint->to_string() + " (HBONE, port 15008), whose identity " +
      waypoint_->to_string() + " is the one that endpoints see");
}

void Explainer::to_service(const core::Service& service) {
  const std::string& ip = service.spec().clusterip();
  say("to Service " + service.metadata().namespace_() + "/" + service.metadata().name() +
      (ip.empty() ? "" : " (" + ip + ")") + ", port " + std::to_string(question_.port));
  if (compile::is_alias(service)) {
    say("  an alias in DNS of " + service.spec().externalname());
    return conclude(Answer::kDepends, "on what that name means");
  }
  through(compile::waypoint_of(service, cluster_.store()));
  say_balancing(compile::compile_service(service, cluster_.config()));
  const bool pods = to_pods(service);
  const bool others =
      to_members(service.metadata().namespace_(), compile::service_key(service, cluster_.config()));
  if (!pods && !others) {
    conclude(Answer::kNo, "the Service has no ready endpoint for this port");
  }
}

bool Explainer::to_pods(const core::Service& service) {
  const bool stays = service.spec().internaltrafficpolicy() == "Local";
  const std::string& here = from_->pod.spec().nodename();
  bool any = false;
  for (const Shape& shape : cluster_.running()) {
    if (shape.origin.ns != service.metadata().namespace_() ||
        !compile::has_endpoint(service, shape.pod.metadata().labels())) {
      continue;
    }
    for (const model::PortPair& pair : compile::ports_on(service, shape.pod)) {
      if (pair.service != question_.port) continue;
      const std::string title = "endpoint " + origin_of(shape.origin);
      const std::string& there = shape.pod.spec().nodename();
      const bool publishes = service.spec().publishnotreadyaddresses();
      if (!is_ready(shape.pod) && !publishes) {
        say(title + " is not ready: not chosen");
        continue;
      }
      if (stays && !here.empty() && !there.empty() && here != there) {
        say(title + " is on " + there + ": not chosen");
        continue;
      }
      if (!shape.pod.metadata().deletiontimestamp().empty() && !publishes) {
        say(title + " is ending: chosen only while no other is ready");
      }
      any = true;
      to_workload(shape, static_cast<uint16_t>(pair.target));
    }
  }
  return any;
}

bool Explainer::to_members(const std::string& ns, const std::string& key) {
  bool any = false;
  for (const auto& [name, entry] : cluster_.store().workload_entries.in(ns)) {
    const auto workload =
        compile::compile_workload_entry(*entry, cluster_.store(), cluster_.config());
    if (!workload) continue;
    const auto member = workload->services.find(key);
    if (member == workload->services.end()) continue;
    for (const model::PortPair& pair : member->second) {
      if (pair.service != question_.port) continue;
      any = true;
      to_written(*workload, pair.target);
    }
  }
  return any;
}

void Explainer::to_entry(const ServiceEntry& entry, const std::string& host) {
  const ServiceEntrySpec& spec = entry.spec();
  const std::vector<Cidr> addresses = addresses_of(entry, host, cluster_.store());
  const std::string where = join(addresses);
  const std::string title = "to ServiceEntry " + entry.metadata().namespace_() + "/" +
                            entry.metadata().name() + ", host " + host +
                            (where.empty() ? "" : " (" + where + ")") + ", port " +
                            std::to_string(question_.port) + ", resolution " +
                            ServiceEntrySpec::Resolution_Name(spec.resolution());
  if (addresses.empty()) {
    return pass(title + ", which has no address to recognise its traffic by");
  }
  const bool has_port = std::ranges::any_of(
      spec.ports(), [&](const auto& port) { return port.number() == question_.port; });
  if (spec.resolution() == ServiceEntrySpec::NONE && !has_port) {
    return pass(title + ", a port that it does not have");
  }
  say(title);
  if (!has_port) return conclude(Answer::kNo, "the ServiceEntry does not have this port");
  through(compile::waypoint_of(entry, cluster_.store()));
  if (spec.resolution() == ServiceEntrySpec::NONE) {
    say("  carried as plain text, to the address that the client asked for");
    return conclude(Answer::kYes, "nothing is enforced outside the mesh");
  }
  to_endpoints_of(entry, host);
}

void Explainer::to_endpoints_of(const ServiceEntry& entry, const std::string& host) {
  const std::string& ns = entry.metadata().namespace_();
  const std::string key = ns + "/" + host;
  say_balancing(compile::compile_host(entry, host, {}));
  bool any = to_members(ns, key);
  for (const auto& workload :
       compile::compile_endpoints(entry, cluster_.store(), cluster_.config())) {
    const auto member = workload.services.find(key);
    if (member == workload.services.end()) continue;
    for (const model::PortPair& pair : member->second) {
      if (pair.service != question_.port) continue;
      any = true;
      to_written(workload, pair.target);
    }
  }
  for (const Shape& shape : cluster_.running()) {
    if (shape.origin.ns != ns ||
        !compile::selects_workloads(entry, shape.pod.metadata().labels()) || !is_ready(shape.pod)) {
      continue;
    }
    for (const model::PortPair& pair : compile::ports_on(entry, {})) {
      if (pair.service != question_.port) continue;
      any = true;
      to_workload(shape, static_cast<uint16_t>(pair.target));
    }
  }
  if (!any) conclude(Answer::kNo, "the ServiceEntry has no endpoint for this port");
}

void Explainer::to_written(const model::Workload& to, uint32_t port) {
  const std::string where = to.addresses.empty() ? to.hostname : to.addresses.front().to_string();
  const std::string title =
      "endpoint " + where + ", port " + std::to_string(port) +
      (to.addresses.empty() ? ", looked up in DNS when it is connected to" : "");
  if (!to.healthy) return say(title + ", is not healthy: not chosen");
  if (!to.network.empty()) {
    say(title);
    return conclude(Answer::kNo, "it is on the network \"" + to.network +
                                     "\", and there is no way to other networks");
  }
  say(title + (to.hbone ? ", in the mesh" : ", outside the mesh"));
  if (to.hbone) {
    say("  carried over mutual TLS (HBONE, port 15008)");
    return conclude(Answer::kDepends, "on the policies of its own proxy");
  }
  say("  carried as plain text, without the source's identity");
  conclude(Answer::kYes, "nothing is enforced for a workload outside the mesh");
}

}  // namespace weft::analyze
