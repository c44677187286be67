#include "agent/objects/names.h"
#include "agent/objects/validate.h"
#include "ztunnel/base/ip.h"

#include <algorithm>
#include <array>
#include <set>

namespace weft::objects {

namespace core = crd::core;
namespace networking = crd::networking;
using networking::ServiceEntrySpec;

namespace {

// Istio's, in whatever case; an unknown one is most often a typing error.
constexpr std::array<std::string_view, 13> kProtocols = {
    "TCP", "TLS",   "HTTP",  "HTTP2", "HTTPS", "GRPC",      "GRPC-WEB",
    "UDP", "MONGO", "REDIS", "MYSQL", "HBONE", "HTTP_PROXY"};

std::string quoted(std::string_view text) { return "\"" + std::string(text.substr(0, 120)) + "\""; }

bool is_port(uint32_t port) { return port >= 1 && port <= 65535; }

// DNS does not tell capitals apart and lets a name end in a dot.
std::string wrong_with_host_name(std::string_view host) {
  if (!host.empty() && host.back() == '.') host.remove_suffix(1);
  std::string lower;
  for (const char c : host) lower += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  const std::string wrong = wrong_with_subdomain(lower);
  return wrong.empty() ? "" : "as a host name: " + wrong;
}

// A name, or "*." before one.
std::string wrong_with_host(std::string_view host) {
  if (host == "*") return "expected a host name: \"*\" alone would be every host of the world";
  if (host.starts_with("*.")) host.remove_prefix(2);
  if (IpAddress::parse(host)) {
    return "expected a host name, got " + quoted(host) + ": IP addresses belong in addresses";
  }
  return wrong_with_host_name(host);
}

std::string wrong_with_block(std::string_view text) {
  return Cidr::parse(text) ? "" : "expected an IP address or CIDR, got " + quoted(text);
}

std::string wrong_with_export(std::string_view text) {
  if (text == "." || text == "*" || text == "~") return {};
  const std::string wrong = wrong_with_label_name(text);
  return wrong.empty() ? "" : "expected \".\", \"*\", \"~\" or a namespace: " + wrong;
}

template <class Texts>
void check_each(const Texts& texts, std::string_view field, std::string (*wrong)(std::string_view),
                Report& report) {
  const auto list = report.at(field);
  for (int i = 0; i < texts.size(); ++i) {
    const std::string message = wrong(texts[i]);
    if (message.empty()) continue;
    const auto here = report.at(static_cast<size_t>(i));
    report.add(message);
  }
}

bool is_known_protocol(std::string_view protocol) {
  for (const std::string_view known : kProtocols) {
    const bool same = std::ranges::equal(protocol, known, [](char a, char b) {
      return (a >= 'a' && a <= 'z' ? a - 'a' + 'A' : a) == b;
    });
    if (same) return true;
  }
  return protocol.empty();
}

void check_ports(const ServiceEntrySpec& spec, Report& report) {
  const auto list = report.at("ports");
  std::set<uint32_t> numbers;
  std::set<std::string_view> names;
  for (int i = 0; i < spec.ports_size(); ++i) {
    const auto here = report.at(static_cast<size_t>(i));
    const auto& port = spec.ports(i);
    check_text(port.name(), "name", wrong_with_label_name, report);
    if (!is_known_protocol(port.protocol())) {
      const auto field = report.at("protocol");
      const std::vector<std::string_view> known(kProtocols.begin(), kProtocols.end());
      const std::string_view near = nearest(port.protocol(), known);
      report.add("unknown protocol " + quoted(port.protocol()) +
                 (near.empty() ? "" : " (did you mean " + std::string(near) + "?)"));
    }
    if (!is_port(port.number())) {
      const auto field = report.at("number");
      report.add("expected a port from 1 to 65535, got " + std::to_string(port.number()));
    } else if (!numbers.insert(port.number()).second) {
      const auto field = report.at("number");
      report.add(std::to_string(port.number()) + " is another port of it too");
    }
    if (port.targetport() > 65535) {
      const auto field = report.at("targetPort");
      report.add("expected a port from 1 to 65535, got " + std::to_string(port.targetport()));
    }
    const auto field = report.at("name");
    if (!port.name().empty() && !names.insert(port.name()).second) {
      report.add(quoted(port.name()) + " is the name of another port too");
    }
  }
}

void check_endpoint_address(const networking::WorkloadEntrySpec& spec, Report& report) {
  const auto here = report.at("address");
  const std::string& address = spec.address();
  if (address.empty()) {
    if (spec.network().empty()) {
      report.add("missing; expected an IP address, a host name or unix://, or a network");
    }
    return;
  }
  if (address.starts_with("unix://")) {
    if (address.size() == 7) report.add("expected a path behind unix://");
    return;
  }
  if (IpAddress::parse(address)) return;
  const std::string wrong = wrong_with_host_name(address);
  if (!wrong.empty()) {
    report.add("expected an IP address, a host name or unix://, got " + quoted(address));
  }
}

void check_endpoint(const networking::WorkloadEntrySpec& spec, Report& report) {
  check_endpoint_address(spec, report);
  check_labels(spec.labels(), "labels", report);
  check_text(spec.serviceaccount(), "serviceAccount", wrong_with_subdomain, report);
  const auto ports = report.at("ports");
  for (const auto& [name, port] : spec.ports()) {
    const auto here = report.at_key(name);
    if (!is_port(port)) {
      report.add("expected a port from 1 to 65535, got " + std::to_string(port));
    }
  }
}

void check_addresses(const ServiceEntrySpec& spec, Report& report) {
  check_each(spec.addresses(), "addresses", wrong_with_block, report);
  if (spec.resolution() == ServiceEntrySpec::NONE ||
      spec.resolution() == ServiceEntrySpec::STATIC) {
    return;
  }
  const auto list = report.at("addresses");
  for (int i = 0; i < spec.addresses_size(); ++i) {
    if (!spec.addresses(i).contains('/')) continue;
    const auto here = report.at(static_cast<size_t>(i));
    report.add("expected an IP address: a CIDR goes only with the resolution NONE or STATIC");
  }
}

// Which endpoints each resolution takes.
void check_resolution(const ServiceEntrySpec& spec, Report& report) {
  const bool by_name = spec.resolution() == ServiceEntrySpec::DNS ||
                       spec.resolution() == ServiceEntrySpec::DNS_ROUND_ROBIN;
  if (by_name && spec.endpoints().empty() && !spec.has_workloadselector()) {
    const auto list = report.at("hosts");
    for (int i = 0; i < spec.hosts_size(); ++i) {
      if (!spec.hosts(i).starts_with('*')) continue;
      const auto here = report.at(static_cast<size_t>(i));
      report.add("expected a whole name: with resolution " +
                 ServiceEntrySpec::Resolution_Name(spec.resolution()) +
                 " and no endpoints it is looked up in DNS");
    }
  }
  const auto list = report.at("endpoints");
  if (spec.has_workloadselector() && !spec.endpoints().empty()) {
    report.add("cannot stand beside workloadSelector");
  }
  if (spec.resolution() == ServiceEntrySpec::NONE && !spec.endpoints().empty()) {
    report.add("expected none with the resolution NONE: did you mean STATIC or DNS?");
  }
  if (spec.resolution() == ServiceEntrySpec::DNS_ROUND_ROBIN && spec.endpoints_size() > 1) {
    report.add("expected at most one with the resolution DNS_ROUND_ROBIN");
  }
  if (spec.resolution() != ServiceEntrySpec::STATIC) return;
  for (int i = 0; i < spec.endpoints_size(); ++i) {
    const std::string& address = spec.endpoints(i).address();
    if (address.empty() || address.starts_with("unix://") || IpAddress::parse(address)) continue;
    const auto here = report.at(static_cast<size_t>(i));
    const auto field = report.at("address");
    report.add("expected an IP address with the resolution STATIC, got " + quoted(address) +
               ": did you mean DNS?");
  }
}

void check_name(const core::ObjectMeta& meta, Report& report) {
  const auto here = report.at("metadata");
  check_text(meta.name(), "name", wrong_with_subdomain, report);
}

void check_slice_address(const core::EndpointSlice& object, const std::string& address,
                         Report& report) {
  if (object.addresstype() == "FQDN") {
    const std::string wrong = wrong_with_host_name(address);
    if (!wrong.empty()) report.add(wrong);
    return;
  }
  const auto ip = IpAddress::parse(address);
  if (ip && ip->is_v4() == (object.addresstype() == "IPv4")) return;
  report.add("expected an " + object.addresstype() + " address, got " + quoted(address));
}

}  // namespace

void validate_service_entry(const networking::ServiceEntry& object, Report& report) {
  check_name(object.metadata(), report);
  const auto at_spec = report.at("spec");
  const ServiceEntrySpec& spec = object.spec();
  check_each(spec.hosts(), "hosts", wrong_with_host, report);
  check_addresses(spec, report);
  check_ports(spec, report);
  check_each(spec.exportto(), "exportTo", wrong_with_export, report);
  check_resolution(spec, report);
  {
    const auto here = report.at("workloadSelector");
    check_labels(spec.workloadselector().labels(), "labels", report);
    if (spec.has_workloadselector() && spec.workloadselector().labels().empty()) {
      report.add("expected labels: without them it would select nothing");
    }
  }
  const auto list = report.at("endpoints");
  for (int i = 0; i < spec.endpoints_size(); ++i) {
    const auto here = report.at(static_cast<size_t>(i));
    check_endpoint(spec.endpoints(i), report);
  }
}

void validate_workload_entry(const networking::WorkloadEntry& object, Report& report) {
  check_name(object.metadata(), report);
  const auto at_spec = report.at("spec");
  check_endpoint(object.spec(), report);
}

void validate_sidecar(const networking::Sidecar& object, Report& report) {
  check_name(object.metadata(), report);
  const auto at_spec = report.at("spec");
  const auto here = report.at("workloadSelector");
  check_labels(object.spec().workloadselector().labels(), "labels", report);
}

void validate_node(const core::Node& object, Report& report) {
  check_name(object.metadata(), report);
}

void validate_endpoint_slice(const core::EndpointSlice& object, Report& report) {
  check_name(object.metadata(), report);
  const auto list = report.at("endpoints");
  for (int i = 0; i < object.endpoints_size(); ++i) {
    const auto here = report.at(static_cast<size_t>(i));
    const auto addresses = report.at("addresses");
    for (int j = 0; j < object.endpoints(i).addresses_size(); ++j) {
      const auto address = report.at(static_cast<size_t>(j));
      check_slice_address(object, object.endpoints(i).addresses(j), report);
    }
  }
  const auto ports = report.at("ports");
  for (int i = 0; i < object.ports_size(); ++i) {
    const auto here = report.at(static_cast<size_t>(i));
    const auto& port = object.ports(i);
    if (!port.has_port() || is_port(port.port())) continue;
    const auto field = report.at("port");
    report.add("expected a port from 1 to 65535, got " + std::to_string(port.port()));
  }
}

}  // namespace weft::objects
