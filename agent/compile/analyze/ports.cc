#include "agent/compile/analyze/checks.h"
#include "agent/compile/service.h"
#include "agent/objects/names.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>

namespace weft::analyze {

namespace core = crd::core;

namespace {

bool is_tcp(const std::string& protocol) { return protocol.empty() || protocol == "TCP"; }

std::set<uint32_t> declared_ports(const core::Pod& pod) {
  std::set<uint32_t> ports;
  const auto add = [&ports](const auto& containers) {
    for (const core::Container& container : containers) {
      for (const core::ContainerPort& port : container.ports()) {
        if (is_tcp(port.protocol())) ports.insert(port.containerport());
      }
    }
  };
  add(pod.spec().containers());
  add(pod.spec().initcontainers());  // sidecars
  return ports;
}

// The ports of these workloads, where none of them is the one asked for. Nothing where one has it,
// or where one does not say which ports it has: containers may listen without saying so.
std::optional<std::set<uint32_t>> lacking(const std::vector<const Shape*>& shapes, uint32_t port) {
  std::set<uint32_t> all;
  for (const Shape* shape : shapes) {
    const std::set<uint32_t> ports = declared_ports(shape->pod);
    if (ports.empty() || ports.contains(port)) return std::nullopt;
    all.insert(ports.begin(), ports.end());
  }
  if (all.empty()) return std::nullopt;
  return all;
}

std::string list(const std::set<uint32_t>& ports) {
  std::string text;
  for (const uint32_t port : ports) text += (text.empty() ? "" : ", ") + std::to_string(port);
  return text;
}

// People write a Service's port where the workload's own is meant.
std::string service_hint(const Cluster& cluster, const std::vector<const Shape*>& shapes,
                         uint32_t port) {
  for (const Shape* shape : shapes) {
    for (const auto& [name, service] : cluster.store().services.in(shape->origin.ns)) {
      if (!compile::has_endpoint(*service, shape->pod.metadata().labels())) continue;
      for (const model::PortPair& pair : compile::ports_on(*service, shape->pod)) {
        if (pair.service != port || pair.target == port) continue;
        return "; " + std::to_string(port) + " is the port of Service " + name +
               ", behind which they listen on " + std::to_string(pair.target) +
               ": write the workload's own port";
      }
    }
  }
  return {};
}

void check_workload_port(const Cluster& cluster, const objects::Key& key, const std::string& field,
                         const std::vector<const Shape*>& shapes, uint32_t port,
                         Findings& findings) {
  const auto others = lacking(shapes, port);
  if (!others) return;
  findings.add(kUndeclaredPort, key,
               field + ": no container of the workloads that it selects has port " +
                   std::to_string(port) + "; they have " + list(*others) +
                   service_hint(cluster, shapes, port));
}

void check_service_port(const core::Service& service, const core::ServicePort& port,
                        const std::vector<const Shape*>& shapes, Findings& findings) {
  const objects::Key key{"Service", service.metadata().namespace_(), service.metadata().name()};
  const std::string which =
      "port " + std::to_string(port.port()) + (port.name().empty() ? "" : " (" + port.name() + ")");
  if (port.targetport().kind_case() == google::protobuf::Value::kStringValue) {
    const bool known = std::ranges::any_of(shapes, [&](const Shape* shape) {
      const auto pairs = compile::ports_on(service, shape->pod);
      return std::ranges::any_of(
          pairs, [&](const model::PortPair& pair) { return pair.service == port.port(); });
    });
    if (known) return;
    findings.add(kNoSuchPortName, key,
                 which + ": no container of its pods names a port \"" +
                     port.targetport().string_value() + "\": connections to it are refused");
    return;
  }
  const uint32_t target =
      port.has_targetport() ? static_cast<uint32_t>(port.targetport().number_value()) : port.port();
  if (const auto others = lacking(shapes, target)) {
    findings.add(kUndeclaredPort, key,
                 which + ": no container of its pods has the target port " +
                     std::to_string(target) + "; they have " + list(*others));
  }
}

}  // namespace

void check_service_ports(const Cluster& cluster, Findings& findings) {
  for (const auto& [ns, services] : cluster.store().services.all()) {
    if (!cluster.knows_pods_of(ns)) continue;
    for (const auto& [name, service] : services) {
      const auto& wanted = service->spec().selector();
      if (wanted.empty() || service->spec().type() == "ExternalName") continue;
      const std::vector<const Shape*> shapes = cluster.matching(ns, wanted);
      if (shapes.empty()) continue;
      for (const core::ServicePort& port : service->spec().ports()) {
        if (is_tcp(port.protocol())) check_service_port(*service, port, shapes, findings);
      }
    }
  }
}

void check_peer_ports(const Cluster& cluster, Findings& findings) {
  for (const auto& [ns, peers] : cluster.store().peers.all()) {
    if (!cluster.knows_pods_of(ns)) continue;
    for (const auto& [name, peer] : peers) {
      const auto shapes = cluster.matching(ns, peer->spec().selector().matchlabels());
      for (const auto& [port, mtls] : peer->spec().portlevelmtls()) {
        check_workload_port(cluster, {"PeerAuthentication", ns, name}, "portLevelMtls", shapes,
                            port, findings);
      }
    }
  }
}

void check_policy_ports(const Cluster& cluster, Findings& findings) {
  for (const auto& [ns, policies] : cluster.store().policies.all()) {
    const std::string scope = scope_of(ns, cluster.config());
    for (const auto& [name, policy] : policies) {
      const auto& spec = policy->spec();
      if (spec.has_targetref() || spec.targetrefs_size() > 0) continue;
      if (scope.empty() && !spec.has_selector()) continue;  // the whole mesh
      if (!cluster.knows_pods_of(scope)) continue;
      const auto shapes = cluster.matching(scope, spec.selector().matchlabels());
      std::map<uint32_t, std::string> ports;
      for (const auto& rule : spec.rules()) {
        for (const auto& to : rule.to()) {
          for (const std::string& text : to.operation().ports()) {
            if (const auto port = objects::parse_port(text)) ports.emplace(*port, "to.ports");
          }
        }
        for (const auto& when : rule.when()) {
          if (when.key() != "destination.port") continue;
          for (const std::string& text : when.values()) {
            if (const auto port = objects::parse_port(text)) ports.emplace(*port, when.key());
          }
        }
      }
      for (const auto& [port, field] : ports) {
        check_workload_port(cluster, {"AuthorizationPolicy", ns, name}, field, shapes, port,
                            findings);
      }
    }
  }
}

}  // namespace weft::analyze
