#include "agent/sandbox/tables.h"

#include "agent/sandbox/layout.h"
#include "agent/sandbox/services.h"

#include <algorithm>
#include <ctime>
#include <functional>

namespace weft::sandbox {

namespace {

using crd::core::Pod;
using Row = std::vector<std::string>;

struct Table {
  Row header;
  std::vector<Row> rows;
};

std::string lay_out(const Table& table) {
  std::vector<size_t> widths;
  const auto measure = [&widths](const Row& row) {
    for (size_t i = 0; i < row.size(); ++i) {
      if (i >= widths.size()) widths.push_back(0);
      widths[i] = std::max(widths[i], row[i].size());
    }
  };
  measure(table.header);
  for (const Row& row : table.rows) measure(row);
  std::string out;
  const auto print = [&](const Row& row) {
    for (size_t i = 0; i < row.size(); ++i) {
      out += row[i];
      if (i + 1 < row.size()) out.append(widths[i] - row[i].size() + 3, ' ');
    }
    out += '\n';
  };
  print(table.header);
  for (const Row& row : table.rows) print(row);
  return out;
}

std::string age_of(const objects::Object& object, int64_t now) {
  const int64_t since = seconds_of(object.metadata().creationtimestamp());
  return since == 0 ? "<unknown>" : human_age(std::max<int64_t>(0, now - since));
}

std::string status_of(const Pod& pod) {
  if (is_leaving(pod)) return "Terminating";
  if (!pod.status().reason().string_value().empty()) return pod.status().reason().string_value();
  return pod.status().phase().empty() ? "Pending" : pod.status().phase();
}

std::pair<int, int> ready_and_restarts(const Pod& pod) {
  int ready = 0;
  int restarts = 0;
  for (const auto& status : pod.status().containerstatuses().list_value().values()) {
    const auto& fields = status.struct_value().fields();
    if (const auto found = fields.find("ready"); found != fields.end()) {
      ready += found->second.bool_value() ? 1 : 0;
    }
    if (const auto found = fields.find("restartCount"); found != fields.end()) {
      restarts += static_cast<int>(found->second.number_value());
    }
  }
  return {ready, restarts};
}

std::string or_none(const std::string& text) { return text.empty() ? "<none>" : text; }

Row pod_row(const objects::Object& object, const TableOptions& options) {
  const Pod& pod = *object.as<Pod>();
  const auto [ready, restarts] = ready_and_restarts(pod);
  Row row = {pod.metadata().name(),
             std::to_string(ready) + "/" + std::to_string(pod.spec().containers_size()),
             status_of(pod), std::to_string(restarts), age_of(object, options.now_seconds)};
  if (options.wide) {
    row.push_back(or_none(pod.status().podip()));
    row.push_back(or_none(pod.spec().nodename()));
  }
  return row;
}

Row service_row(const objects::Object& object, const TableOptions& options) {
  const auto& spec = object.as<crd::core::Service>()->spec();
  std::string ports;
  for (const auto& port : spec.ports()) {
    ports += (ports.empty() ? "" : ",") + std::to_string(port.port()) + "/" +
             (port.protocol().empty() ? "TCP" : port.protocol());
  }
  Row row = {object.metadata().name(),
             spec.type().empty() ? "ClusterIP" : spec.type(),
             or_none(spec.clusterip()),
             "<none>",
             or_none(ports),
             age_of(object, options.now_seconds)};
  if (options.wide) {
    std::string selector;
    for (const auto& [name, value] : spec.selector()) {
      selector += (selector.empty() ? "" : ",") + name + "=" + value;
    }
    row.push_back(or_none(selector));
  }
  return row;
}

Row deployment_row(const objects::Object& object, const std::vector<ObjectPtr>& all,
                   const TableOptions& options) {
  const auto& deployment = *object.as<crd::core::Deployment>();
  const int wanted =
      deployment.spec().has_replicas() ? static_cast<int>(deployment.spec().replicas()) : 1;
  const std::string hash = template_hash(deployment.spec().template_());
  int ready = 0;
  int current = 0;
  for (const ObjectPtr& other : all) {
    const Pod* pod = other->as<Pod>();
    if (pod == nullptr || is_leaving(*pod) || pod->metadata().ownerreferences_size() == 0 ||
        pod->metadata().ownerreferences(0).uid() != object.metadata().uid()) {
      continue;
    }
    const auto label = pod->metadata().labels().find(kTemplateHashLabel);
    current += label != pod->metadata().labels().end() && label->second == hash ? 1 : 0;
    ready += is_ready(*pod) ? 1 : 0;
  }
  return {object.metadata().name(), std::to_string(ready) + "/" + std::to_string(wanted),
          std::to_string(current), std::to_string(ready), age_of(object, options.now_seconds)};
}

Row plain_row(const objects::Object& object, const TableOptions& options) {
  if (object.kind() == "Namespace") {
    return {object.metadata().name(), "Active", age_of(object, options.now_seconds)};
  }
  return {object.metadata().name(), age_of(object, options.now_seconds)};
}

Row header_for(const std::string& kind, bool wide) {
  Row header = {"NAME", "AGE"};
  if (kind == "Namespace") header = {"NAME", "STATUS", "AGE"};
  if (kind == "Deployment") header = {"NAME", "READY", "UP-TO-DATE", "AVAILABLE", "AGE"};
  if (kind == "Pod") {
    header = {"NAME", "READY", "STATUS", "RESTARTS", "AGE"};
    if (wide) header.insert(header.end(), {"IP", "NODE"});
  }
  if (kind == "Service") {
    header = {"NAME", "TYPE", "CLUSTER-IP", "EXTERNAL-IP", "PORT(S)", "AGE"};
    if (wide) header.push_back("SELECTOR");
  }
  return header;
}

Row row_for(const objects::Object& object, const std::vector<ObjectPtr>& all,
            const TableOptions& options) {
  if (object.as<Pod>() != nullptr) return pod_row(object, options);
  if (object.as<crd::core::Service>() != nullptr) return service_row(object, options);
  if (object.as<crd::core::Deployment>() != nullptr) return deployment_row(object, all, options);
  return plain_row(object, options);
}

}  // namespace

std::string print_table(const std::string& kind, const std::vector<ObjectPtr>& shown,
                        const std::vector<ObjectPtr>& all, const TableOptions& options) {
  Table table;
  table.header = header_for(kind, options.wide);
  if (options.show_namespace) table.header.insert(table.header.begin(), "NAMESPACE");
  std::string notes;
  for (const ObjectPtr& object : shown) {
    table.rows.push_back(row_for(*object, all, options));
    if (options.show_namespace) {
      table.rows.back().insert(table.rows.back().begin(), object->metadata().namespace_());
    }
    const Pod* pod = object->as<Pod>();
    if (pod != nullptr && !pod->status().message().string_value().empty() && !is_leaving(*pod)) {
      notes += object->key().to_string() + ": " + pod->status().message().string_value() + "\n";
    }
  }
  return lay_out(table) + (notes.empty() ? "" : "\n" + notes);
}

std::string print_nodes(const std::vector<std::string>& nodes, bool wide) {
  Table table;
  table.header = {"NAME", "STATUS", "ROLES"};
  if (wide) table.header.insert(table.header.end(), {"INTERNAL-IP", "POD-CIDR"});
  for (const std::string& node : nodes) {
    Row row = {node, "Ready", "<none>"};
    if (wide) {
      row.push_back(node_ip(node_index(node)));
      row.push_back(pod_ip(node_index(node), 0) + "/24");
    }
    table.rows.push_back(std::move(row));
  }
  return lay_out(table);
}

std::string human_age(int64_t seconds) {
  if (seconds < 120) return std::to_string(seconds) + "s";
  const int64_t minutes = seconds / 60;
  if (minutes < 10) {
    const int64_t rest = seconds % 60;
    return std::to_string(minutes) + "m" + (rest == 0 ? "" : std::to_string(rest) + "s");
  }
  if (minutes < 180) return std::to_string(minutes) + "m";
  if (minutes < 48 * 60) return std::to_string(minutes / 60) + "h";
  return std::to_string(minutes / (24 * 60)) + "d";
}

int64_t seconds_of(const std::string& rfc3339) {
  std::tm parts{};
  const char* end = ::strptime(rfc3339.c_str(), "%Y-%m-%dT%H:%M:%S", &parts);
  return end == nullptr ? 0 : static_cast<int64_t>(::timegm(&parts));
}

}  // namespace weft::sandbox
