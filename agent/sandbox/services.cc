#include "agent/sandbox/services.h"

#include "agent/sandbox/layout.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <sstream>

namespace weft::sandbox {

namespace {

using crd::core::Pod;
using crd::core::Service;
using crd::core::ServicePort;

std::string protocol_of(const ServicePort& port) {
  if (port.protocol().empty() || port.protocol() == "TCP") return "tcp";
  return port.protocol() == "UDP" ? "udp" : "";
}

std::optional<uint16_t> as_port(double number) {
  if (number != std::floor(number) || number < 1 || number > 65535) return std::nullopt;
  return static_cast<uint16_t>(number);
}

std::optional<uint16_t> named_port(const std::string& name, const Pod& pod) {
  for (const auto& container : pod.spec().containers()) {
    for (const auto& port : container.ports()) {
      if (port.name() == name) return as_port(port.containerport());
    }
  }
  return std::nullopt;
}

// One family's half of the rules.
struct Half {
  bool v6;
  const char* keyword;  // of nftables, for tables and addresses
  std::string_view dns;
  std::string_view cidr;
};
constexpr Half kHalves[] = {{false, "ip", kDnsIp, kServiceCidr},
                            {true, "ip6", kDnsIpV6, kServiceCidrV6}};

struct Backend {
  std::string ip;
  uint16_t port;
};

std::vector<Backend> backends_of(const ServicePort& port, const std::vector<PodPtr>& endpoints,
                                 bool v6) {
  std::vector<Backend> backends;
  for (const PodPtr& pod : endpoints) {
    const auto target = target_port(port, *pod);
    std::string ip = address_of(*pod, v6);
    if (target && !ip.empty()) backends.push_back({std::move(ip), *target});
  }
  return backends;
}

void render_service(const Half& half, const std::string& vip, const Service& service,
                    const std::vector<PodPtr>& pods, std::ostringstream& rules,
                    std::set<std::string>& hairpins) {
  const std::vector<PodPtr> endpoints = endpoints_of(service, pods);
  for (const ServicePort& port : service.spec().ports()) {
    const std::string protocol = protocol_of(port);
    const std::vector<Backend> backends = backends_of(port, endpoints, half.v6);
    if (protocol.empty() || backends.empty()) continue;
    rules << "    " << half.keyword << " daddr " << vip << " " << protocol << " dport "
          << port.port() << " dnat " << half.keyword << " to numgen random mod " << backends.size()
          << " map { ";
    for (size_t i = 0; i < backends.size(); ++i) {
      rules << (i > 0 ? ", " : "") << i << " : " << backends[i].ip << " . " << backends[i].port;
      hairpins.insert(backends[i].ip + " . " + backends[i].ip);
    }
    rules << " }\n";
  }
}

void render_half(const Half& half, const std::vector<ServicePtr>& services,
                 const std::vector<PodPtr>& pods, std::ostringstream& out) {
  std::ostringstream rules;
  std::set<std::string> hairpins;
  for (const ServicePtr& service : services) {
    for (const std::string& vip : cluster_ips(*service)) {
      if (is_v6(vip) == half.v6) render_service(half, vip, *service, pods, rules, hairpins);
    }
  }
  const std::string ip = half.keyword;
  // Made, removed and made again in one transaction: there is no moment without rules.
  out << "table " << ip << " weft {}\ndelete table " << ip << " weft\ntable " << ip << " weft {\n"
      << "  chain services {\n"
      << rules.str() << "  }\n"
      << "  chain prerouting {\n    type nat hook prerouting priority -100\n    jump services\n  "
         "}\n"
      << "  chain output {\n    type nat hook output priority -100\n    jump services\n  }\n"
      << "  chain postrouting {\n    type nat hook postrouting priority 100\n";
  if (!hairpins.empty()) {
    out << "    " << ip << " saddr . " << ip << " daddr { ";
    for (auto pair = hairpins.begin(); pair != hairpins.end(); ++pair) {
      out << (pair == hairpins.begin() ? "" : ", ") << *pair;
    }
    out << " } masquerade\n";
  }
  out << "  }\n";
  for (const char* hook : {"forward", "output"}) {
    out << "  chain refuse_" << hook << " {\n    type filter hook " << hook << " priority 0\n"
        << "    " << ip << " daddr " << half.dns << " accept\n"
        << "    " << ip << " daddr " << half.cidr << " meta l4proto tcp reject with tcp reset\n"
        << "    " << ip << " daddr " << half.cidr << " reject\n  }\n";
  }
  out << "}\n";
}

}  // namespace

std::optional<uint16_t> target_port(const ServicePort& port, const Pod& pod) {
  const auto& target = port.targetport();
  if (target.has_number_value()) return as_port(target.number_value());
  if (!target.has_string_value()) return as_port(port.port());
  const std::string& text = target.string_value();
  const bool digits =
      !text.empty() && text.size() <= 5 && text.find_first_not_of("0123456789") == text.npos;
  return digits ? as_port(std::stod(text)) : named_port(text, pod);
}

bool selects(const Service& service, const Pod& pod) {
  if (service.spec().selector().empty()) return false;
  if (service.metadata().namespace_() != pod.metadata().namespace_()) return false;
  const auto& labels = pod.metadata().labels();
  return std::all_of(service.spec().selector().begin(), service.spec().selector().end(),
                     [&](const auto& wanted) {
                       const auto label = labels.find(wanted.first);
                       return label != labels.end() && label->second == wanted.second;
                     });
}

std::vector<PodPtr> endpoints_of(const Service& service, const std::vector<PodPtr>& pods) {
  std::vector<PodPtr> endpoints;
  for (const PodPtr& pod : pods) {
    const bool serves = is_ready(*pod) || service.spec().publishnotreadyaddresses();
    if (serves && !is_leaving(*pod) && !is_finished(*pod) && !pod->status().podip().empty() &&
        selects(service, *pod)) {
      endpoints.push_back(pod);
    }
  }
  return endpoints;
}

std::string render_nftables(const std::vector<ServicePtr>& services,
                            const std::vector<PodPtr>& pods, const Families& families) {
  std::ostringstream out;
  for (const Half& half : kHalves) {
    if (families.has(half.v6)) render_half(half, services, pods, out);
  }
  return out.str();
}

Zone make_zone(const std::vector<ServicePtr>& services, const std::vector<PodPtr>& pods) {
  Zone zone;
  for (const ServicePtr& service : services) {
    auto& addresses = zone[service->metadata().name() + "." + service->metadata().namespace_() +
                           ".svc." + std::string(kClusterDomain)];
    addresses = cluster_ips(*service);
    if (!is_headless(*service)) continue;
    for (const PodPtr& pod : endpoints_of(*service, pods)) {
      for (const bool v6 : {false, true}) {
        std::string ip = serves_family(*service, v6) ? address_of(*pod, v6) : "";
        if (!ip.empty()) addresses.push_back(std::move(ip));
      }
    }
  }
  return zone;
}

}  // namespace weft::sandbox
