#include "agent/compile/l7/traffic.h"

#include <set>

namespace weft::l7 {

namespace {

using crd::networking::TrafficPolicy;

Settings of_mesh(const compile::MeshConfig& config) {
  Settings settings;
  if (config.written == nullptr || !config.written->has_defaulttrafficpolicy()) return settings;
  const auto& policy = config.written->defaulttrafficpolicy();
  if (policy.has_connectionpool()) settings.pool = &policy.connectionpool();
  if (policy.has_outlierdetection()) settings.outlier = &policy.outlierdetection();
  return settings;
}

// Part by part: what is written replaces what was.
void lay_over(const TrafficPolicy& policy, Settings& settings) {
  if (policy.has_loadbalancer()) settings.balancer = &policy.loadbalancer();
  if (policy.has_connectionpool()) settings.pool = &policy.connectionpool();
  if (policy.has_outlierdetection()) settings.outlier = &policy.outlierdetection();
  if (policy.has_tls()) settings.tls = &policy.tls();
  if (policy.has_proxyprotocol()) settings.proxy_protocol = &policy.proxyprotocol();
  if (policy.has_retrybudget()) settings.budget = &policy.retrybudget();
}

// A port's settings are whole: what they leave out is the default.
void lay_over_port(const TrafficPolicy& policy, uint32_t port, Settings& settings) {
  for (const auto& own : policy.portlevelsettings()) {
    if (own.port().number() != port) continue;
    settings.balancer = own.has_loadbalancer() ? &own.loadbalancer() : nullptr;
    settings.pool = own.has_connectionpool() ? &own.connectionpool() : nullptr;
    settings.outlier = own.has_outlierdetection() ? &own.outlierdetection() : nullptr;
    settings.tls = own.has_tls() ? &own.tls() : nullptr;
    return;
  }
}

void add_ports(const TrafficPolicy* policy, std::set<uint32_t>& ports) {
  if (policy == nullptr) return;
  for (const auto& own : policy->portlevelsettings()) ports.insert(own.port().number());
}

}  // namespace

std::optional<weft::route::Policy> compile_policy(const Backend& service, const HostRule* rule,
                                                  const compile::MeshConfig& config) {
  const Settings mesh = of_mesh(config);
  if (rule == nullptr && mesh.pool == nullptr && mesh.outlier == nullptr) return std::nullopt;
  weft::route::Policy out;
  out.set_namespace_(service.ns);
  out.set_hostname(service.hostname);
  const TrafficPolicy* policy = rule == nullptr ? nullptr : rule->policy;
  Settings own = mesh;
  if (policy != nullptr) lay_over(*policy, own);
  *out.mutable_traffic() = compile_traffic(own, service, config);
  std::set<uint32_t> ports;
  add_ports(policy, ports);
  const auto of_port = [&](uint32_t port) {
    Settings settings = own;
    if (policy != nullptr) lay_over_port(*policy, port, settings);
    return settings;
  };
  for (const uint32_t port : ports) {
    (*out.mutable_ports())[port] = compile_traffic(of_port(port), service, config);
  }
  if (rule == nullptr) return out;
  out.set_origin(rule->origin);
  for (const auto* subset : rule->subsets) {
    auto& made = *out.add_subsets();
    made.set_name(subset_key(subset->name(), rule->ns, service.name(), config));
    const TrafficPolicy* special = subset->has_trafficpolicy() ? &subset->trafficpolicy() : nullptr;
    Settings settings = own;
    if (special != nullptr) lay_over(*special, settings);
    *made.mutable_traffic() = compile_traffic(settings, service, config);
    std::set<uint32_t> all = ports;
    add_ports(special, all);
    for (const uint32_t port : all) {
      Settings there = of_port(port);
      if (special != nullptr) lay_over(*special, there);
      if (special != nullptr) lay_over_port(*special, port, there);
      (*made.mutable_ports())[port] = compile_traffic(there, service, config);
    }
  }
  return out;
}

}  // namespace weft::l7
