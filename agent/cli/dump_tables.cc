#include "agent/cli/dump_tables.h"

#include "agent/cli/admin_client.h"

#include <algorithm>
#include <map>

namespace weft::cli {

namespace {

using google::protobuf::Value;
using Row = std::vector<std::string>;

constexpr const char* kNone = "-";

// The members of a list, or of a map as older ztunnels write them.
std::vector<const Value*> items(const Value& value) {
  std::vector<const Value*> result;
  for (const Value& item : value.list_value().values()) result.push_back(&item);
  for (const auto& [name, item] : value.struct_value().fields()) result.push_back(&item);
  return result;
}

const std::string& text(const Value& object, const std::string& name) {
  return at(object, name).string_value();
}

std::string or_none(const std::string& value) { return value.empty() ? kNone : value; }

// "network/address", of which the network is mostly empty.
std::string without_network(const std::string& address) {
  return address.starts_with('/') ? address.substr(1) : address;
}

std::string waypoint_of(const Value& object) {
  const std::string& destination = text(at(object, "waypoint"), "destination");
  return destination.empty() ? "None" : without_network(destination);
}

// "a", or "a,b": every address of a dual-stack pod or service.
std::string joined(const Value& addresses) {
  std::string result;
  for (const Value& one : addresses.list_value().values()) {
    result += (result.empty() ? "" : ",") + without_network(one.string_value());
  }
  return or_none(result);
}

std::string table(Row head, std::vector<Row> rows) {
  std::ranges::sort(rows);
  rows.insert(rows.begin(), std::move(head));
  return aligned(rows);
}

// Healthy ones of all: "2/3".
std::string endpoints_of(const Value& service,
                         const std::map<std::string, std::string>& status_by_uid) {
  size_t healthy = 0;
  const auto all = items(at(service, "endpoints"));
  for (const Value* endpoint : all) {
    std::string status = text(*endpoint, "status");
    const auto workload = status_by_uid.find(text(*endpoint, "workloadUid"));
    if (status.empty() && workload != status_by_uid.end()) status = workload->second;
    healthy += status == "Healthy" ? 1 : 0;
  }
  return std::to_string(healthy) + "/" + std::to_string(all.size());
}

Row certificate_row(const Value& entry, const char* type, const Value& certificate,
                    const std::string& now) {
  const std::string& from = text(certificate, "validFrom");
  const std::string& until = text(certificate, "expirationTime");
  const bool valid = from <= now && now <= until;
  return {text(entry, "identity"),
          type,
          text(entry, "state"),
          valid ? "true" : "false",
          or_none(text(certificate, "serialNumber")),
          until,
          from};
}

void add_connections(const Value& pod, const char* direction, const char* name,
                     std::vector<Row>& rows) {
  const std::string workload =
      text(at(pod, "info"), "name") + "." + text(at(pod, "info"), "namespace");
  const bool inbound = std::string_view(name) == "inbound";
  for (const Value* connection : items(at(at(pod, "connections"), name))) {
    const std::string& source = text(*connection, "src");
    const std::string& actual = text(*connection, "actualDst");
    rows.push_back({workload, direction, inbound ? actual : source, inbound ? source : actual,
                    or_none(text(*connection, "originalDst")),
                    or_none(text(*connection, "protocol"))});
  }
}

}  // namespace

std::string aligned(const std::vector<Row>& rows) {
  constexpr size_t kGap = 3;
  std::vector<size_t> widths;
  for (const Row& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string out;
  for (const Row& row : rows) {
    for (size_t i = 0; i < row.size(); ++i) {
      out += row[i];
      if (i + 1 < row.size()) out.append(widths[i] - row[i].size() + kGap, ' ');
    }
    out += '\n';
  }
  return out;
}

std::string workloads_table(const Value& dump) {
  std::vector<Row> rows;
  for (const Value* workload : items(at(dump, "workloads"))) {
    rows.push_back({text(*workload, "namespace"), text(*workload, "name"),
                    joined(at(*workload, "workloadIps")), or_none(text(*workload, "node")),
                    waypoint_of(*workload), text(*workload, "protocol")});
  }
  return table({"NAMESPACE", "POD NAME", "ADDRESS", "NODE", "WAYPOINT", "PROTOCOL"},
               std::move(rows));
}

std::string services_table(const Value& dump) {
  std::map<std::string, std::string> status_by_uid;
  for (const Value* workload : items(at(dump, "workloads"))) {
    status_by_uid[text(*workload, "uid")] = text(*workload, "status");
  }
  std::vector<Row> rows;
  for (const Value* service : items(at(dump, "services"))) {
    rows.push_back({text(*service, "namespace"), text(*service, "name"),
                    joined(at(*service, "vips")), waypoint_of(*service),
                    endpoints_of(*service, status_by_uid)});
  }
  return table({"NAMESPACE", "SERVICE NAME", "SERVICE VIP", "WAYPOINT", "ENDPOINTS"},
               std::move(rows));
}

std::string policies_table(const Value& dump) {
  std::vector<Row> rows;
  for (const Value* policy : items(at(dump, "policies"))) {
    const std::string dry_run = at(*policy, "dryRun").bool_value() ? " (dry run)" : "";
    rows.push_back({text(*policy, "namespace"), text(*policy, "name"),
                    text(*policy, "action") + dry_run, text(*policy, "scope")});
  }
  return table({"NAMESPACE", "POLICY NAME", "ACTION", "SCOPE"}, std::move(rows));
}

std::string certificates_table(const Value& dump, const std::string& now) {
  std::vector<Row> rows;
  rows.push_back({"CERTIFICATE NAME", "TYPE", "STATUS", "VALID CERT", "SERIAL NUMBER", "NOT AFTER",
                  "NOT BEFORE"});
  for (const Value* entry : items(at(dump, "certificates"))) {
    const auto chain = items(at(*entry, "certChain"));
    const auto roots = items(at(*entry, "rootCerts"));
    if (chain.empty()) {
      rows.push_back(
          {text(*entry, "identity"), kNone, text(*entry, "state"), "false", kNone, kNone, kNone});
    }
    for (size_t i = 0; i < chain.size(); ++i) {
      // Before rootCerts there was, the root was the last of the chain.
      const bool is_root = i > 0 && i + 1 == chain.size() && roots.empty();
      rows.push_back(certificate_row(*entry,
                                     i == 0    ? "Leaf"
                                     : is_root ? "Root"
                                               : "Intermediate",
                                     *chain[i], now));
    }
    for (const Value* root : roots) rows.push_back(certificate_row(*entry, "Root", *root, now));
  }
  return aligned(rows);
}

std::string connections_table(const Value& dump) {
  std::vector<Row> rows;
  for (const Value* pod : items(at(dump, "workloadState"))) {
    add_connections(*pod, "Inbound", "inbound", rows);
    add_connections(*pod, "Outbound", "outbound", rows);
  }
  return table({"WORKLOAD", "DIRECTION", "LOCAL", "REMOTE", "REMOTE TARGET", "PROTOCOL"},
               std::move(rows));
}

}  // namespace weft::cli
