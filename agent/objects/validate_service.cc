#include "agent/objects/names.h"
#include "agent/objects/validate.h"
#include "ztunnel/base/ip.h"

#include <set>

namespace weft::objects {

namespace core = crd::core;

namespace {

// A number from 1 to 65535, or the name of a container's port.
void check_target_port(const google::protobuf::Value& target, Report& report) {
  const auto here = report.at("targetPort");
  if (target.kind_case() == google::protobuf::Value::kNumberValue) {
    const double number = target.number_value();
    if (number >= 1 && number <= 65535 && number == static_cast<uint16_t>(number)) return;
    report.add("expected a port from 1 to 65535 or the name of a container's port");
  } else if (target.kind_case() == google::protobuf::Value::kStringValue) {
    const std::string wrong = wrong_with_port_name(target.string_value());
    if (!wrong.empty()) report.add("as the name of a container's port: " + wrong);
  } else {
    report.add("expected a number or a string");
  }
}

void check_port(const core::ServicePort& port, Report& report) {
  if (port.port() == 0 || port.port() > 65535) {
    const auto here = report.at("port");
    report.add("expected a port from 1 to 65535, got " + std::to_string(port.port()));
  }
  if (port.nodeport() > 65535) {
    const auto here = report.at("nodePort");
    report.add("expected a port from 1 to 65535, got " + std::to_string(port.nodeport()));
  }
  check_text(port.name(), "name", wrong_with_label_name, report);
  if (port.has_targetport()) check_target_port(port.targetport(), report);
}

void check_ports(const core::ServiceSpec& spec, Report& report) {
  const auto list = report.at("ports");
  std::set<std::string_view> names;
  std::set<std::pair<uint32_t, std::string>> numbers;
  for (int i = 0; i < spec.ports_size(); ++i) {
    const auto here = report.at(static_cast<size_t>(i));
    const core::ServicePort& port = spec.ports(i);
    check_port(port, report);
    const std::string protocol = port.protocol().empty() ? "TCP" : port.protocol();
    if (!numbers.emplace(port.port(), protocol).second) {
      const auto number = report.at("port");
      report.add(std::to_string(port.port()) + "/" + protocol + " is another port of it too");
    }
    const auto name = report.at("name");
    if (spec.ports_size() > 1 && port.name().empty()) {
      report.add("missing; expected a name, as there is more than one port");
    } else if (!names.insert(port.name()).second) {
      report.add("\"" + port.name() + "\" is the name of another port too");
    }
  }
}

// Kubernetes' own bounds: up to a day.
void check_affinity(const core::ServiceSpec& spec, Report& report) {
  constexpr uint32_t kTimeoutMax = 86400;
  const auto& client_ip = spec.sessionaffinityconfig().clientip();
  if (!client_ip.has_timeoutseconds()) return;
  const auto config = report.at("sessionAffinityConfig");
  const auto at_ip = report.at("clientIP");
  const auto here = report.at("timeoutSeconds");
  if (client_ip.timeoutseconds() == 0 || client_ip.timeoutseconds() > kTimeoutMax) {
    report.add("expected 1 to 86400 seconds, got " + std::to_string(client_ip.timeoutseconds()));
  } else if (spec.sessionaffinity() != "ClientIP") {
    report.add("expected only with sessionAffinity: ClientIP");
  }
}

void check_cluster_ip(std::string_view text, Report& report) {
  if (text.empty() || text == "None" || IpAddress::parse(text)) return;
  report.add("expected an IP address or None, got \"" + std::string(text.substr(0, 80)) + "\"");
}

}  // namespace

void validate_service(const core::Service& object, Report& report) {
  {
    const auto here = report.at("metadata");
    check_text(object.metadata().name(), "name", wrong_with_dns_label, report);
  }
  const auto at_spec = report.at("spec");
  const core::ServiceSpec& spec = object.spec();
  check_labels(spec.selector(), "selector", report);
  check_ports(spec, report);
  check_affinity(spec, report);
  {
    const auto here = report.at("clusterIP");
    check_cluster_ip(spec.clusterip(), report);
  }
  for (int i = 0; i < spec.clusterips_size(); ++i) {
    const auto list = report.at("clusterIPs");
    const auto here = report.at(static_cast<size_t>(i));
    check_cluster_ip(spec.clusterips(i), report);
  }
  if (spec.type() == "ExternalName") {
    const auto here = report.at("externalName");
    if (spec.externalname().empty()) report.add("missing; expected a host name");
  } else if (spec.ports_size() == 0 && spec.clusterip() != "None") {
    const auto here = report.at("ports");
    report.add("missing; expected a list, as the Service is not headless");
  }
}

}  // namespace weft::objects
