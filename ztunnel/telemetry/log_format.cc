#include "ztunnel/telemetry/log_format.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <cstdlib>
#include <optional>
#include <unordered_map>

namespace weft::telemetry {
namespace {

using Kind = LogPiece::Kind;
using Part = LogPiece::Part;

std::string lower(std::string_view text) {
  std::string made(text);
  for (char& c : made) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return made;
}

std::string host_name() {
  std::array<char, 256> name{};
  return ::gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "";
}

// Those without an argument.
struct Plain {
  Kind kind;
  Part part = Part::kAll;
};
const std::unordered_map<std::string_view, Plain>& plain_operators() {
  static const std::unordered_map<std::string_view, Plain> kAll{
      {"PROTOCOL", {Kind::kProtocol}},
      {"RESPONSE_CODE", {Kind::kStatus}},
      {"RESPONSE_CODE_DETAILS", {Kind::kDetails}},
      {"CONNECTION_TERMINATION_DETAILS", {Kind::kTerminationDetails}},
      {"RESPONSE_FLAGS", {Kind::kFlags}},
      {"UPSTREAM_TRANSPORT_FAILURE_REASON", {Kind::kUpstreamFailure}},
      {"BYTES_RECEIVED", {Kind::kBytesReceived}},
      {"BYTES_SENT", {Kind::kBytesSent}},
      {"DURATION", {Kind::kDuration}},
      {"REQUEST_DURATION", {Kind::kRequestDuration}},
      {"RESPONSE_DURATION", {Kind::kResponseDuration}},
      {"RESPONSE_TX_DURATION", {Kind::kResponseSendDuration}},
      {"UPSTREAM_HOST", {Kind::kUpstreamHost}},
      {"UPSTREAM_REMOTE_ADDRESS", {Kind::kUpstreamHost}},
      {"UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT", {Kind::kUpstreamAddress}},
      {"UPSTREAM_CLUSTER", {Kind::kUpstreamCluster}},
      {"UPSTREAM_CLUSTER_RAW", {Kind::kUpstreamCluster}},
      {"UPSTREAM_LOCAL_ADDRESS", {Kind::kUpstreamLocal}},
      {"UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT", {Kind::kUpstreamLocal, Part::kAddress}},
      {"UPSTREAM_LOCAL_PORT", {Kind::kUpstreamLocal, Part::kPort}},
      {"DOWNSTREAM_LOCAL_ADDRESS", {Kind::kDownstreamLocal}},
      {"DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT", {Kind::kDownstreamLocal, Part::kAddress}},
      {"DOWNSTREAM_LOCAL_PORT", {Kind::kDownstreamLocal, Part::kPort}},
      {"DOWNSTREAM_REMOTE_ADDRESS", {Kind::kDownstreamRemote}},
      {"DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT", {Kind::kDownstreamRemote, Part::kAddress}},
      {"DOWNSTREAM_REMOTE_PORT", {Kind::kDownstreamRemote, Part::kPort}},
      {"DOWNSTREAM_DIRECT_REMOTE_ADDRESS", {Kind::kDownstreamRemote}},
      {"DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT", {Kind::kDownstreamRemote, Part::kAddress}},
      {"DOWNSTREAM_PEER_URI_SAN", {Kind::kPeerUri}},
      {"REQUESTED_SERVER_NAME", {Kind::kServerName}},
      {"ROUTE_NAME", {Kind::kRouteName}},
      {"GRPC_STATUS", {Kind::kGrpcStatus}},
      {"GRPC_STATUS_NUMBER", {Kind::kGrpcStatusNumber}},
      {"UPSTREAM_REQUEST_ATTEMPT_COUNT", {Kind::kTries}}};
  return kAll;
}

// What Envoy has and a waypoint of ours has nothing to say of.
constexpr std::array<std::string_view, 26> kNothing{"DYNAMIC_METADATA",
                                                    "CLUSTER_METADATA",
                                                    "UPSTREAM_METADATA",
                                                    "FILTER_STATE",
                                                    "UPSTREAM_FILTER_STATE",
                                                    "CONNECTION_ID",
                                                    "STREAM_ID",
                                                    "TRACE_ID",
                                                    "RESPONSE_FLAGS_LONG",
                                                    "DOWNSTREAM_TLS_VERSION",
                                                    "DOWNSTREAM_TLS_CIPHER",
                                                    "DOWNSTREAM_TLS_SESSION_ID",
                                                    "DOWNSTREAM_PEER_SUBJECT",
                                                    "DOWNSTREAM_PEER_ISSUER",
                                                    "DOWNSTREAM_PEER_FINGERPRINT_256",
                                                    "DOWNSTREAM_PEER_SERIAL",
                                                    "DOWNSTREAM_LOCAL_SUBJECT",
                                                    "DOWNSTREAM_LOCAL_URI_SAN",
                                                    "DOWNSTREAM_TRANSPORT_FAILURE_REASON",
                                                    "UPSTREAM_TLS_VERSION",
                                                    "UPSTREAM_TLS_CIPHER",
                                                    "UPSTREAM_PEER_SUBJECT",
                                                    "UPSTREAM_PEER_URI_SAN",
                                                    "UPSTREAM_WIRE_BYTES_SENT",
                                                    "UPSTREAM_WIRE_BYTES_RECEIVED",
                                                    "DOWNSTREAM_WIRE_BYTES_SENT"};

std::optional<Kind> header_operator(std::string_view name) {
  if (name == "REQ") return Kind::kRequestHeader;
  if (name == "REQ_WITHOUT_QUERY") return Kind::kRequestHeaderWithoutQuery;
  if (name == "RESP") return Kind::kResponseHeader;
  if (name == "TRAILER") return Kind::kTrailer;
  return std::nullopt;
}

// What stands between two percent signs.
Result<LogPiece> parse_operator(std::string_view text) {
  const auto malformed = [&](const std::string& what) {
    return fail(Code::kInvalid, "%" + std::string(text) + "%: " + what);
  };
  LogPiece piece;
  std::string_view rest = text;
  const size_t end = std::min(rest.find('('), rest.find(':'));
  const std::string_view name = rest.substr(0, end);
  rest.remove_prefix(name.size());
  std::optional<std::string_view> argument;
  if (rest.starts_with('(')) {
    const size_t close = rest.rfind(')');
    if (close == std::string_view::npos) return malformed("expected \")\"");
    argument = rest.substr(1, close - 1);
    rest.remove_prefix(close + 1);
  }
  if (rest.starts_with(':')) {
    const auto parsed =
        std::from_chars(rest.data() + 1, rest.data() + rest.size(), piece.length_max);
    if (parsed.ec != std::errc() || parsed.ptr != rest.data() + rest.size()) {
      return malformed("expected a length behind \":\"");
    }
    rest = {};
  }
  if (!rest.empty()) return malformed("expected its end");
  if (const auto header = header_operator(name)) {
    if (!argument || argument->empty()) return malformed("expected a header's name in brackets");
    const size_t mark = argument->find('?');
    piece.kind = *header;
    piece.text = lower(argument->substr(0, mark));
    if (mark != std::string_view::npos) piece.other = lower(argument->substr(mark + 1));
    return piece;
  }
  if (name == "START_TIME") {
    piece.kind = Kind::kStartTime;
    piece.text = argument.value_or("");
    return piece;
  }
  if (name == "HOSTNAME" || name == "ENVIRONMENT") {
    const char* value =
        name == "ENVIRONMENT" ? std::getenv(std::string(argument.value_or("")).c_str()) : nullptr;
    piece.text = name == "HOSTNAME" ? host_name() : std::string(value == nullptr ? "" : value);
    piece.kind = piece.text.empty() ? Kind::kNothing : Kind::kLiteral;
    return piece;
  }
  const auto found = plain_operators().find(name);
  if (found != plain_operators().end()) {
    piece.kind = found->second.kind;
    piece.part = found->second.part;
    if (argument == "NUMBER") piece.kind = Kind::kGrpcStatusNumber;
    return piece;
  }
  if (std::ranges::find(kNothing, name) == kNothing.end()) {
    return malformed("there is no such operator");
  }
  piece.kind = Kind::kNothing;
  return piece;
}

// START_TIME's argument is strftime's and has percent signs of its own.
size_t end_of_operator(std::string_view format) {
  const size_t open = format.find('(');
  size_t end = format.find('%');
  if (open < end) {
    const size_t close = format.find(')', open);
    if (close != std::string_view::npos) end = format.find('%', close);
  }
  return end;
}

bool is_number(Kind kind) {
  switch (kind) {
    case Kind::kStatus:
    case Kind::kBytesReceived:
    case Kind::kBytesSent:
    case Kind::kDuration:
    case Kind::kRequestDuration:
    case Kind::kResponseDuration:
    case Kind::kResponseSendDuration:
    case Kind::kTries:
    case Kind::kGrpcStatusNumber:
      return true;
    default:
      return false;
  }
}

constexpr std::string_view kMissing = "-";

}  // namespace

const LogFormat::Fields& LogFormat::default_fields() {
  static const Fields kFields{
      {"start_time", "%START_TIME%"},
      {"method", "%REQ(:METHOD)%"},
      {"path", "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%"},
      {"protocol", "%PROTOCOL%"},
      {"response_code", "%RESPONSE_CODE%"},
      {"response_flags", "%RESPONSE_FLAGS%"},
      {"response_code_details", "%RESPONSE_CODE_DETAILS%"},
      {"connection_termination_details", "%CONNECTION_TERMINATION_DETAILS%"},
      {"upstream_transport_failure_reason", "%UPSTREAM_TRANSPORT_FAILURE_REASON%"},
      {"bytes_received", "%BYTES_RECEIVED%"},
      {"bytes_sent", "%BYTES_SENT%"},
      {"duration", "%DURATION%"},
      {"upstream_service_time", "%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)%"},
      {"x_forwarded_for", "%REQ(X-FORWARDED-FOR)%"},
      {"user_agent", "%REQ(USER-AGENT)%"},
      {"request_id", "%REQ(X-REQUEST-ID)%"},
      {"authority", "%REQ(:AUTHORITY)%"},
      {"upstream_host", "%UPSTREAM_HOST%"},
      {"upstream_cluster", "%UPSTREAM_CLUSTER_RAW%"},
      {"upstream_local_address", "%UPSTREAM_LOCAL_ADDRESS%"},
      {"downstream_local_address", "%DOWNSTREAM_LOCAL_ADDRESS%"},
      {"downstream_remote_address", "%DOWNSTREAM_REMOTE_ADDRESS%"},
      {"requested_server_name", "%REQUESTED_SERVER_NAME%"},
      {"route_name", "%ROUTE_NAME%"}};
  return kFields;
}

Result<LogFormat::Pieces> LogFormat::parse(std::string_view format) {
  if (format.size() > kFormatBytesMax) return fail(Code::kLimit, "the format is too long");
  Pieces pieces;
  const auto literal = [&](std::string_view text) {
    if (text.empty()) return;
    if (pieces.empty() || pieces.back().kind != Kind::kLiteral) pieces.emplace_back();
    pieces.back().text += text;
  };
  while (!format.empty()) {
    const size_t percent = format.find('%');
    literal(format.substr(0, percent));
    if (percent == std::string_view::npos) break;
    format.remove_prefix(percent + 1);
    if (format.starts_with('%')) {
      literal("%");
      format.remove_prefix(1);
      continue;
    }
    const size_t end = end_of_operator(format);
    if (end == std::string_view::npos) {
      return fail(Code::kInvalid,
                  "%" + std::string(format.substr(0, 40)) + ": expected a \"%\" at its end");
    }
    pieces.push_back(TRY(parse_operator(format.substr(0, end))));
    format.remove_prefix(end + 1);
  }
  return pieces;
}

Result<LogFormat> LogFormat::of_text(std::string_view format) {
  LogFormat made;
  made.text_ = TRY(parse(format));
  return made;
}

Result<LogFormat> LogFormat::of_fields(const Fields& fields) {
  LogFormat made;
  for (const auto& [name, format] : fields) {
    std::string key;
    append_json_string(key, name);
    auto pieces = parse(format);
    if (!pieces) return fail(pieces.error().code, name + ": " + pieces.error().message);
    made.fields_.emplace_back(std::move(key), std::move(*pieces));
  }
  return made;
}

void LogFormat::append(std::string& out, const RequestFacts& facts) const {
  if (!fields_.empty()) return append_json(out, facts);
  for (const LogPiece& piece : text_) {
    if (!append_value(out, piece, facts)) out += kMissing;
  }
  if (out.empty() || out.back() != '\n') out += '\n';
}

bool LogFormat::append_text(std::string& out, const RequestFacts& facts) const {
  const size_t before = out.size();
  bool is_there = false;
  for (const LogPiece& piece : text_) {
    if (append_value(out, piece, facts)) {
      is_there = true;
    } else {
      out += kMissing;
    }
  }
  if (!is_there) out.resize(before);
  return is_there;
}

void LogFormat::append_json(std::string& out, const RequestFacts& facts) const {
  std::string text;
  char before = '{';
  for (const auto& [name, pieces] : fields_) {
    out += before;
    before = ',';
    out += name;
    out += ':';
    text.clear();
    if (pieces.size() == 1) {
      const LogPiece& piece = pieces.front();
      if (!append_value(text, piece, facts)) {
        out += "null";
      } else if (is_number(piece.kind)) {
        out += text;
      } else {
        append_json_string(out, text);
      }
      continue;
    }
    for (const LogPiece& piece : pieces) {
      if (!append_value(text, piece, facts)) text += kMissing;
    }
    append_json_string(out, text);
  }
  out += "}\n";
}

}  // namespace weft::telemetry
