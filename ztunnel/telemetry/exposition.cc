#include "ztunnel/telemetry/exposition.h"

#include "ztunnel/telemetry/side_names.h"

namespace weft::telemetry {
namespace {

constexpr std::string_view kUnknown = "unknown";

std::string_view or_unknown(std::string_view value) { return value.empty() ? kUnknown : value; }

void append_escaped(std::string& out, std::string_view text, bool quotes) {
  for (const char c : text) {
    if (c == '\n') {
      out += "\\n";
    } else if (c == '\\' || (quotes && c == '"')) {
      out += '\\';
      out += c;
    } else {
      out += c;
    }
  }
}

// Without the string that SpiffeId::to_string would make.
void append_principal(std::string& out, std::string_view name, const SpiffeId* id) {
  if (id == nullptr) return append_label(out, name, kUnknown);
  append_label(out, name, "spiffe://");
  out.pop_back();
  append_escaped(out, id->trust_domain, true);
  out += "/ns/";
  append_escaped(out, id->ns, true);
  out += "/sa/";
  append_escaped(out, id->service_account, true);
  out += '"';
}

std::string_view name_of(Reporter reporter) {
  switch (reporter) {
    case Reporter::kSource:
      return "source";
    case Reporter::kDestination:
      return "destination";
    case Reporter::kWaypoint:
      return "waypoint";
  }
  return "source";
}

void append_side(std::string& out, const SideNames& names, const WorkloadLabels& labels) {
  append_label(out, names.workload, or_unknown(labels.workload));
  append_label(out, names.canonical_service, or_unknown(labels.canonical_service));
  append_label(out, names.canonical_revision, or_unknown(labels.canonical_revision));
  append_label(out, names.workload_namespace, or_unknown(labels.workload_namespace));
  append_principal(out, names.principal, labels.principal);
  append_label(out, names.app, or_unknown(labels.app));
  append_label(out, names.version, or_unknown(labels.version));
  append_label(out, names.cluster, or_unknown(labels.cluster));
}

}  // namespace

std::string_view to_string(Flag flag) {
  switch (flag) {
    case Flag::kNone:
      return "-";
    case Flag::kDenied:
      return "DENY";
    case Flag::kConnect:
      return "CONNECT";
    case Flag::kTlsFailure:
      return "TLS_FAILURE";
    case Flag::kH2HandshakeFailure:
      return "H2_HANDSHAKE_FAILURE";
    case Flag::kNetworkPolicy:
      return "NETWORK_POLICY";
    case Flag::kIdentityError:
      return "IDENTITY_ERROR";
    case Flag::kCertRevoked:
      return "CERT_REVOKED";
  }
  return "-";
}

void append_label(std::string& out, std::string_view name, std::string_view value) {
  if (!out.empty()) out += ',';
  out += name;
  out += "=\"";
  append_escaped(out, value, true);
  out += '"';
}

void append_connection_labels(std::string& out, const ConnectionLabels& labels) {
  append_label(out, "reporter", name_of(labels.reporter));
  append_side(out, kSource, labels.source);
  append_label(out, "destination_service", or_unknown(labels.destination_service));
  append_label(out, "destination_service_namespace",
               or_unknown(labels.destination_service_namespace));
  append_label(out, "destination_service_name", or_unknown(labels.destination_service_name));
  append_side(out, kDestination, labels.destination);
  append_label(out, "request_protocol", "tcp");
  append_label(out, "response_flags", to_string(labels.flag));
  append_label(out, "connection_security_policy", labels.mutual_tls ? "mutual_tls" : kUnknown);
  if (!labels.source.known && !labels.destination.known) return;
  append_label(out, "source_region", or_unknown(labels.source.region));
  append_label(out, "source_zone", or_unknown(labels.source.zone));
  append_label(out, "destination_region", or_unknown(labels.destination.region));
  append_label(out, "destination_zone", or_unknown(labels.destination.zone));
}

std::string render_labels(const Labels& labels) {
  std::string text;
  for (const auto& [name, value] : labels) append_label(text, name, value);
  return text;
}

void append_head(std::string& out, std::string_view name, std::string_view help,
                 std::string_view type) {
  out += "# HELP ";
  out += name;
  out += ' ';
  append_escaped(out, help, false);
  out += "\n# TYPE ";
  out += name;
  out += ' ';
  out += type;
  out += '\n';
}

void append_sample(std::string& out, std::string_view name, std::string_view labels,
                   std::string_view value) {
  out += name;
  if (!labels.empty()) {
    out += '{';
    out += labels;
    out += '}';
  }
  out += ' ';
  out += value;
  out += '\n';
}

}  // namespace weft::telemetry
