#include "agent/objects/mesh_config.h"
#include "agent/objects/names.h"
#include "agent/objects/validate.h"
#include "ztunnel/base/ip.h"

#include <set>

namespace weft::objects {

namespace core = crd::core;

namespace {

std::string wrong_with_time(std::string_view text) {
  return parse_time(text) ? "" : "expected a time such as 2026-01-31T12:00:00Z";
}

// A uid becomes part of file and cgroup names.
std::string wrong_with_uid(std::string_view uid) {
  bool fits = uid.size() <= 128 && uid[0] != '.';
  for (const char character : uid) {
    fits &= (character >= 'a' && character <= 'z') || (character >= 'A' && character <= 'Z') ||
            (character >= '0' && character <= '9') || character == '-' || character == '_' ||
            character == '.';
  }
  return fits ? "" : "expected at most 128 letters, digits, '-', '_' and '.'";
}

std::string wrong_with_ip(std::string_view text) {
  return IpAddress::parse(text)
             ? ""
             : "expected an IP address, got \"" + std::string(text.substr(0, 80)) + "\"";
}

void validate_container(const core::Container& container, std::set<std::string_view>& names,
                        Report& report) {
  check_text(container.name(), "name", wrong_with_label_name, report);
  if (!names.insert(container.name()).second) {
    const auto here = report.at("name");
    report.add("\"" + container.name() + "\" is the name of another container too");
  }
  const auto list = report.at("ports");
  std::set<std::string_view> port_names;
  for (int i = 0; i < container.ports_size(); ++i) {
    const auto here = report.at(static_cast<size_t>(i));
    const core::ContainerPort& port = container.ports(i);
    check_text(port.name(), "name", wrong_with_port_name, report);
    if (!port.name().empty() && !port_names.insert(port.name()).second) {
      const auto name = report.at("name");
      report.add("\"" + port.name() + "\" is the name of another port too");
    }
    if (port.containerport() == 0 || port.containerport() > 65535) {
      const auto number = report.at("containerPort");
      report.add("expected a port from 1 to 65535, got " + std::to_string(port.containerport()));
    }
  }
}

void validate_pod_spec(const core::PodSpec& spec, Report& report) {
  const auto at_spec = report.at("spec");
  check_text(spec.nodename(), "nodeName", wrong_with_subdomain, report);
  check_text(spec.serviceaccountname(), "serviceAccountName", wrong_with_subdomain, report);
  check_text(spec.hostname(), "hostname", wrong_with_label_name, report);
  check_text(spec.subdomain(), "subdomain", wrong_with_label_name, report);
  check_labels(spec.nodeselector(), "nodeSelector", report);
  if (spec.has_serviceaccount()) {
    const auto here = report.at("serviceAccount");
    const auto& alias = spec.serviceaccount();
    if (alias.kind_case() != google::protobuf::Value::kStringValue) {
      report.add("expected a string");
    } else if (!spec.serviceaccountname().empty() &&
               alias.string_value() != spec.serviceaccountname()) {
      report.add("differs from serviceAccountName");
    } else if (!alias.string_value().empty()) {
      const std::string wrong = wrong_with_subdomain(alias.string_value());
      if (!wrong.empty()) report.add(wrong);
    }
  }
  std::set<std::string_view> names;
  for (int i = 0; i < spec.containers_size(); ++i) {
    const auto list = report.at("containers");
    const auto here = report.at(static_cast<size_t>(i));
    validate_container(spec.containers(i), names, report);
  }
  for (int i = 0; i < spec.initcontainers_size(); ++i) {
    const auto list = report.at("initContainers");
    const auto here = report.at(static_cast<size_t>(i));
    validate_container(spec.initcontainers(i), names, report);
  }
}

}  // namespace

void validate_meta(const core::ObjectMeta& meta, Report& report) {
  const auto here = report.at("metadata");
  if (meta.name().empty()) {  // generateName is for objects that an API server names
    const auto name = report.at("name");
    report.add("missing; expected a string");
  }
  check_text(meta.namespace_(), "namespace", wrong_with_label_name, report);
  check_text(meta.uid(), "uid", wrong_with_uid, report);
  check_text(meta.creationtimestamp(), "creationTimestamp", wrong_with_time, report);
  check_text(meta.deletiontimestamp(), "deletionTimestamp", wrong_with_time, report);
  check_labels(meta.labels(), "labels", report);
}

void validate_namespace(const core::Namespace& object, Report& report) {
  const auto here = report.at("metadata");
  check_text(object.metadata().name(), "name", wrong_with_label_name, report);
}

void validate_service_account(const core::ServiceAccount& object, Report& report) {
  const auto here = report.at("metadata");
  check_text(object.metadata().name(), "name", wrong_with_subdomain, report);
}

void validate_config_map(const core::ConfigMap& object, Report& report) {
  {
    const auto here = report.at("metadata");
    check_text(object.metadata().name(), "name", wrong_with_subdomain, report);
  }
  const auto mesh = object.data().find(kMeshConfigKey);
  if (!is_mesh_config_map(object.metadata().name()) || mesh == object.data().end()) return;
  const auto data = report.at("data");
  const auto here = report.at(kMeshConfigKey);
  read_mesh_config(mesh->second, report);
}

void validate_pod(const core::Pod& object, Report& report) {
  {
    const auto here = report.at("metadata");
    check_text(object.metadata().name(), "name", wrong_with_subdomain, report);
  }
  validate_pod_spec(object.spec(), report);
  const auto status = report.at("status");
  check_text(object.status().podip(), "podIP", wrong_with_ip, report);
  check_text(object.status().hostip(), "hostIP", wrong_with_ip, report);
  const auto list = report.at("podIPs");
  for (int i = 0; i < object.status().podips_size(); ++i) {
    const auto here = report.at(static_cast<size_t>(i));
    check_text(object.status().podips(i).ip(), "ip", wrong_with_ip, report);
  }
}

void validate_deployment(const core::Deployment& object, Report& report) {
  {
    const auto here = report.at("metadata");
    check_text(object.metadata().name(), "name", wrong_with_subdomain, report);
  }
  const auto spec = report.at("spec");
  const core::PodTemplateSpec& pod = object.spec().template_();
  {
    const auto here = report.at("template");
    {
      const auto metadata = report.at("metadata");
      check_labels(pod.metadata().labels(), "labels", report);
    }
    validate_pod_spec(pod.spec(), report);
  }
  const auto selector = report.at("selector");
  const auto& wanted = object.spec().selector();
  if (wanted.matchlabels().empty() && !wanted.has_matchexpressions()) {
    report.add("expected matchLabels: a Deployment must know its pods");
  }
  check_labels(wanted.matchlabels(), "matchLabels", report);
  const auto labels = report.at("matchLabels");
  for (const auto& [key, value] : wanted.matchlabels()) {
    const auto found = pod.metadata().labels().find(key);
    if (found != pod.metadata().labels().end() && found->second == value) continue;
    const auto here = report.at_key(key);
    report.add("the pods do not have this label: spec.template.metadata.labels must contain " +
               key + ": " + value);
  }
}

}  // namespace weft::objects
