#include "agent/compile/l7/providers.h"

#include "agent/compile/l7/backend.h"
#include "agent/objects/tree.h"

#include <algorithm>
#include <charconv>

namespace weft::l7 {

namespace {

using google::protobuf::Value;
using weft::telemetry::AccessLog;
using weft::telemetry::Tracing;

// Istio's default where nobody says how much is traced.
constexpr double kSamplingPercent = 1;
constexpr uint32_t kZipkinPort = 9411;

const Value* member(const Value* of, const std::string& name) {
  if (of == nullptr || !of->has_struct_value()) return nullptr;
  const auto& fields = of->struct_value().fields();
  const auto found = fields.find(name);
  return found == fields.end() ? nullptr : &found->second;
}
std::string text(const Value* value) {
  return value != nullptr && value->has_string_value() ? value->string_value() : std::string();
}
double number(const Value* value, double otherwise) {
  return value != nullptr && value->has_number_value() ? value->number_value() : otherwise;
}
bool flag(const Value* value) { return value != nullptr && value->bool_value(); }

// In one order, whatever the map's.
void add_fields(const Value& labels, AccessLog& log) {
  std::vector<std::pair<std::string, std::string>> fields;
  for (const auto& [name, format] : labels.struct_value().fields()) {
    fields.emplace_back(name, text(&format));
  }
  std::ranges::sort(fields);
  for (const auto& [name, format] : fields) {
    auto& field = *log.add_json();
    field.set_name(name);
    field.set_format(format);
  }
}

// Istio's own fields, which a waypoint knows as its default; here they have to be named.
void add_default_fields(AccessLog& log) {
  constexpr std::pair<const char*, const char*> kFields[] = {
      {"authority", "%REQ(:AUTHORITY)%"},
      {"bytes_received", "%BYTES_RECEIVED%"},
      {"bytes_sent", "%BYTES_SENT%"},
      {"connection_termination_details", "%CONNECTION_TERMINATION_DETAILS%"},
      {"downstream_local_address", "%DOWNSTREAM_LOCAL_ADDRESS%"},
      {"downstream_remote_address", "%DOWNSTREAM_REMOTE_ADDRESS%"},
      {"duration", "%DURATION%"},
      {"method", "%REQ(:METHOD)%"},
      {"path", "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%"},
      {"protocol", "%PROTOCOL%"},
      {"request_id", "%REQ(X-REQUEST-ID)%"},
      {"requested_server_name", "%REQUESTED_SERVER_NAME%"},
      {"response_code", "%RESPONSE_CODE%"},
      {"response_code_details", "%RESPONSE_CODE_DETAILS%"},
      {"response_flags", "%RESPONSE_FLAGS%"},
      {"route_name", "%ROUTE_NAME%"},
      {"start_time", "%START_TIME%"},
      {"upstream_cluster", "%UPSTREAM_CLUSTER_RAW%"},
      {"upstream_host", "%UPSTREAM_HOST%"},
      {"upstream_local_address", "%UPSTREAM_LOCAL_ADDRESS%"},
      {"upstream_service_time", "%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)%"},
      {"upstream_transport_failure_reason", "%UPSTREAM_TRANSPORT_FAILURE_REASON%"},
      {"user_agent", "%REQ(USER-AGENT)%"},
      {"x_forwarded_for", "%REQ(X-FORWARDED-FOR)%"}};
  for (const auto& [name, format] : kFields) {
    auto& field = *log.add_json();
    field.set_name(name);
    field.set_format(format);
  }
}

const Value* field_of(const compile::MeshConfig& config, bool (crd::mesh::MeshConfig::*has)() const,
                      const Value& (crd::mesh::MeshConfig::*get)() const) {
  if (config.written == nullptr || !((*config.written).*has)()) return nullptr;
  return &((*config.written).*get)();
}

}  // namespace

#define WEFT_MESH_FIELD(name) \
  field_of(config_, &crd::mesh::MeshConfig::has_##name, &crd::mesh::MeshConfig::name)

const Value* Providers::find(const std::string& name) const {
  const Value* all = WEFT_MESH_FIELD(extensionproviders);
  if (all == nullptr) return nullptr;
  for (const Value& one : all->list_value().values()) {
    if (text(member(&one, "name")) == name) return &one;
  }
  return nullptr;
}

std::optional<AccessLog> Providers::log(const std::string& name) const {
  const Value* provider = find(name);
  AccessLog log;
  log.set_provider(name);
  log.set_path("/dev/stdout");
  if (provider == nullptr) return name == "envoy" ? std::optional(log) : std::nullopt;
  const Value* file = member(provider, "envoyFileAccessLog");
  if (file == nullptr) return std::nullopt;
  if (const std::string path = text(member(file, "path")); !path.empty()) log.set_path(path);
  const Value* format = member(file, "logFormat");
  log.set_text(text(member(format, "text")));
  if (const Value* labels = member(format, "labels"); labels != nullptr) {
    add_fields(*labels, log);
    if (log.json().empty()) add_default_fields(log);
  }
  return log;
}

bool Providers::is_prometheus(const std::string& name) const {
  const Value* provider = find(name);
  return provider == nullptr ? name == "prometheus" : member(provider, "prometheus") != nullptr;
}

// "[namespace/]host": a Service's name of the cluster has its namespace in it.
weft::route::Destination Providers::collector(std::string_view service, uint32_t port) const {
  std::string ns;
  if (const size_t slash = service.find('/'); slash != std::string_view::npos) {
    ns = service.substr(0, slash);
    service.remove_prefix(slash + 1);
  }
  std::string host(service);
  const size_t dot = host.find('.');
  if (dot != std::string::npos && host.find('.', dot + 1) == std::string::npos) {
    host += ".svc." + config_.cluster_domain;  // "zipkin.istio-system"
  } else if (host.ends_with(".svc")) {
    host += "." + config_.cluster_domain;
  }
  weft::route::Destination destination;
  destination.set_port(port);
  const auto backend =
      find_backend(host, ns.empty() ? config_.root_namespace : ns, store_, config_);
  destination.set_hostname(host);
  if (backend) ns = backend->ns;
  if (ns.empty() && dot != std::string::npos)
    ns = host.substr(dot + 1, host.find('.', dot + 1) - dot - 1);
  destination.set_namespace_(ns);
  return destination;
}

std::optional<Tracing> Providers::tracing(const std::string& name) const {
  const Value* provider = find(name);
  const Value* zipkin = member(provider, "zipkin");
  const Value* otel = member(provider, "opentelemetry");
  const Value* settings = zipkin != nullptr ? zipkin : otel;
  if (settings == nullptr) return std::nullopt;
  Tracing tracing;
  tracing.set_provider(name);
  const std::string service = text(member(settings, "service"));
  const auto port = static_cast<uint32_t>(number(member(settings, "port"), 0));
  *tracing.mutable_collector() = collector(service, port);
  tracing.set_authority(tracing.collector().hostname() + ":" + std::to_string(port));
  tracing.set_tag_bytes_max(static_cast<uint32_t>(number(member(settings, "maxTagLength"), 0)));
  if (zipkin != nullptr) {
    tracing.set_protocol(Tracing::ZIPKIN);
    const std::string path = text(member(zipkin, "path"));
    tracing.set_path(path.empty() ? "/api/v2/spans" : path);
    tracing.set_w3c_too(text(member(zipkin, "traceContextOption")) ==
                        "USE_B3_WITH_W3C_PROPAGATION");
    return tracing;
  }
  const Value* http = member(otel, "http");
  tracing.set_protocol(http == nullptr ? Tracing::OTLP_GRPC : Tracing::OTLP_HTTP);
  if (http == nullptr) return tracing;
  const std::string path = text(member(http, "path"));
  tracing.set_path(path.empty() ? "/v1/traces" : path);
  if (const Value* headers = member(http, "headers"); headers != nullptr) {
    for (const Value& one : headers->list_value().values()) {
      auto& header = *tracing.add_headers();
      header.set_name(text(member(&one, "name")));
      header.set_value(text(member(&one, "value")));
    }
  }
  return tracing;
}

std::vector<std::string> Providers::defaults(std::string_view of) const {
  std::vector<std::string> names;
  const Value* all = member(WEFT_MESH_FIELD(defaultproviders), std::string(of));
  if (all == nullptr) return names;
  for (const Value& one : all->list_value().values()) names.push_back(text(&one));
  return names;
}

std::optional<AccessLog> Providers::mesh_log() const {
  const std::string path = text(WEFT_MESH_FIELD(accesslogfile));
  if (path.empty()) return std::nullopt;
  AccessLog log;
  log.set_provider("accessLogFile");
  log.set_path(path);
  const std::string format = text(WEFT_MESH_FIELD(accesslogformat));
  if (text(WEFT_MESH_FIELD(accesslogencoding)) != "JSON") {
    log.set_text(format);
    return log;
  }
  const auto fields =
      format.empty() ? Result<objects::Tree>(objects::Tree::map()) : objects::parse_json(format);
  if (fields) {
    for (const auto& [name, value] : fields->members) {
      auto& field = *log.add_json();
      field.set_name(name);
      field.set_format(value.text);
    }
  }
  if (log.json().empty()) add_default_fields(log);
  return log;
}

double Providers::mesh_sampling() const {
  const Value* tracing = member(WEFT_MESH_FIELD(defaultconfig), "tracing");
  return number(member(tracing, "sampling"), kSamplingPercent);
}

std::optional<Tracing> Providers::mesh_tracing() const {
  if (!flag(WEFT_MESH_FIELD(enabletracing))) return std::nullopt;
  const Value* settings = member(WEFT_MESH_FIELD(defaultconfig), "tracing");
  const std::string address = text(member(member(settings, "zipkin"), "address"));
  if (address.empty()) return std::nullopt;
  const size_t colon = address.rfind(':');
  uint32_t port = kZipkinPort;
  if (colon != std::string::npos) {
    std::from_chars(address.data() + colon + 1, address.data() + address.size(), port);
  }
  Tracing tracing;
  tracing.set_provider("defaultConfig.tracing.zipkin");
  tracing.set_protocol(Tracing::ZIPKIN);
  tracing.set_path("/api/v2/spans");
  *tracing.mutable_collector() = collector(address.substr(0, colon), port);
  tracing.set_authority(address);
  tracing.set_tag_bytes_max(static_cast<uint32_t>(number(member(settings, "maxPathTagLength"), 0)));
  return tracing;
}

#undef WEFT_MESH_FIELD

}  // namespace weft::l7
