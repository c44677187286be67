#include "ztunnel/telemetry/expression_node.h"

#include <algorithm>
#include <array>
#include <unordered_map>

namespace weft::telemetry {
namespace {

const std::unordered_map<std::string_view, Attribute>& attributes() {
  static const std::unordered_map<std::string_view, Attribute> kAll{
      {"request.path", Attribute::kRequestPath},
      {"request.url_path", Attribute::kRequestUrlPath},
      {"request.host", Attribute::kRequestHost},
      {"request.scheme", Attribute::kRequestScheme},
      {"request.method", Attribute::kRequestMethod},
      {"request.referer", Attribute::kRequestReferer},
      {"request.useragent", Attribute::kRequestUserAgent},
      {"request.id", Attribute::kRequestId},
      {"request.protocol", Attribute::kRequestProtocol},
      {"request.query", Attribute::kRequestQuery},
      {"request.size", Attribute::kRequestSize},
      {"request.total_size", Attribute::kRequestSize},
      {"request.duration", Attribute::kRequestDuration},
      {"request.headers", Attribute::kRequestHeaders},
      {"response.code", Attribute::kResponseCode},
      {"response.code_details", Attribute::kResponseDetails},
      {"response.flags", Attribute::kResponseFlags},
      {"response.grpc_status", Attribute::kResponseGrpcStatus},
      {"response.size", Attribute::kResponseSize},
      {"response.total_size", Attribute::kResponseSize},
      {"response.headers", Attribute::kResponseHeaders},
      {"response.trailers", Attribute::kResponseTrailers},
      {"connection.mtls", Attribute::kConnectionMtls},
      {"connection.requested_server_name", Attribute::kConnectionServerName},
      {"connection.uri_san_peer_certificate", Attribute::kConnectionPeerUri},
      {"connection.id", Attribute::kNothing},
      {"connection.tls_version", Attribute::kNothing},
      {"connection.subject_peer_certificate", Attribute::kNothing},
      {"connection.termination_details", Attribute::kNothing},
      {"source.address", Attribute::kSourceAddress},
      {"source.port", Attribute::kSourcePort},
      {"destination.address", Attribute::kDestinationAddress},
      {"destination.port", Attribute::kDestinationPort},
      {"upstream.address", Attribute::kUpstreamAddress},
      {"upstream.transport_failure_reason", Attribute::kUpstreamFailure},
      {"upstream.request_attempt_count", Attribute::kUpstreamTries},
      {"xds.route_name", Attribute::kRouteName},
      {"xds.cluster_name", Attribute::kClusterName}};
  return kAll;
}

// Of what is below these, only Envoy's filters know something.
constexpr std::array<std::string_view, 6> kEnvoysOwn{
    "metadata", "filter_state", "upstream_peer", "downstream_peer", "node", "xds.node"};

Value text(std::string_view value) { return value.empty() ? Value() : Value(std::string(value)); }

std::string_view query_of(std::string_view path) {
  const size_t mark = path.find('?');
  return mark == std::string_view::npos ? std::string_view() : path.substr(mark + 1);
}

Value flag_bits(const RequestFacts& facts) {
  // Envoy's is a number of bits that only itself can name; 0 is what people compare with.
  return Value(static_cast<int64_t>(facts.flags == "-" || facts.flags.empty() ? 0 : 1));
}

Value of_request(Attribute attribute, const RequestFacts& facts) {
  const http::RequestHead& head = *facts.request;
  switch (attribute) {
    case Attribute::kRequestPath:
      return text(head.path);
    case Attribute::kRequestUrlPath:
      return text(head.path.substr(0, head.path.find('?')));
    case Attribute::kRequestHost:
      return text(head.authority);
    case Attribute::kRequestScheme:
      return text(head.scheme);
    case Attribute::kRequestMethod:
      return text(head.method);
    case Attribute::kRequestReferer:
      return text(head.fields.get("referer"));
    case Attribute::kRequestUserAgent:
      return text(head.fields.get("user-agent"));
    case Attribute::kRequestId:
      return text(head.fields.get("x-request-id"));
    case Attribute::kRequestProtocol:
      return text(protocol_of(head.version));
    case Attribute::kRequestQuery:
      return Value(std::string(query_of(head.path)));
    case Attribute::kRequestSize:
      return Value(static_cast<int64_t>(facts.request_bytes));
    default:
      return Value(static_cast<double>(facts.duration.count()) / 1e9);  // seconds
  }
}

}  // namespace

std::optional<Attribute> attribute_named(std::string_view name) {
  const auto found = attributes().find(name);
  if (found != attributes().end()) return found->second;
  const auto is_below = [&](std::string_view prefix) {
    return name.starts_with(prefix) && name.size() > prefix.size() && name[prefix.size()] == '.';
  };
  if (std::ranges::any_of(kEnvoysOwn, is_below)) return Attribute::kNothing;
  return std::nullopt;
}

bool is_attribute_prefix(std::string_view name) {
  const std::string prefix = std::string(name) + ".";
  return std::ranges::any_of(attributes(),
                             [&](const auto& one) { return one.first.starts_with(prefix); }) ||
         std::ranges::any_of(kEnvoysOwn, [&](std::string_view own) {
           return own == name || own.starts_with(prefix);
         });
}

Value value_of(Attribute attribute, const RequestFacts& facts) {
  switch (attribute) {
    case Attribute::kResponseCode:
      return facts.status == 0 ? Value() : Value(static_cast<int64_t>(facts.status));
    case Attribute::kResponseDetails:
      return text(facts.details);
    case Attribute::kResponseFlags:
      return flag_bits(facts);
    case Attribute::kResponseGrpcStatus: {
      const auto status = facts.grpc_status();
      return status ? Value(static_cast<int64_t>(*status)) : Value();
    }
    case Attribute::kResponseSize:
      return Value(static_cast<int64_t>(facts.response_bytes));
    case Attribute::kConnectionMtls:
      return Value(facts.mutual_tls);
    case Attribute::kConnectionServerName:
      return text(facts.server_name);
    case Attribute::kConnectionPeerUri:
      return facts.source.principal == nullptr ? Value()
                                               : Value(facts.source.principal->to_string());
    case Attribute::kSourceAddress:
      return Value(facts.downstream_remote.to_string());
    case Attribute::kSourcePort:
      return Value(static_cast<int64_t>(facts.downstream_remote.port));
    case Attribute::kDestinationAddress:
      return Value(facts.downstream_local.to_string());
    case Attribute::kDestinationPort:
      return Value(static_cast<int64_t>(facts.downstream_local.port));
    case Attribute::kUpstreamAddress:
      return text(facts.upstream_host);
    case Attribute::kUpstreamFailure:
      return text(facts.upstream_failure);
    case Attribute::kUpstreamTries:
      return Value(static_cast<int64_t>(facts.tries));
    case Attribute::kRouteName:
      return text(facts.route_name);
    case Attribute::kClusterName:
      return text(facts.upstream_cluster);
    case Attribute::kNothing:
    case Attribute::kRequestHeaders:
    case Attribute::kResponseHeaders:
    case Attribute::kResponseTrailers:
      return {};
    default:
      return of_request(attribute, facts);
  }
}

Value entry_of(Attribute map, std::string_view name, const RequestFacts& facts) {
  const http::FieldList* fields = nullptr;
  if (map == Attribute::kRequestHeaders) {
    if (name == ":path") return text(facts.request->path);
    if (name == ":method") return text(facts.request->method);
    if (name == ":authority") return text(facts.request->authority);
    if (name == ":scheme") return text(facts.request->scheme);
    fields = &facts.request->fields;
  } else if (map == Attribute::kResponseHeaders && facts.response != nullptr) {
    if (name == ":status") return Value(std::to_string(facts.status));
    fields = &facts.response->fields;
  } else if (map == Attribute::kResponseTrailers) {
    fields = facts.trailers;
  }
  const auto* field = fields == nullptr ? nullptr : fields->find(name);
  return field == nullptr ? Value() : Value(std::string(field->value));
}

}  // namespace weft::telemetry
