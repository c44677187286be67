#include "ztunnel/telemetry/log_format.h"

#include <array>
#include <charconv>
#include <cstdio>
#include <ctime>

namespace weft::telemetry {
namespace {

using Kind = LogPiece::Kind;
using Part = LogPiece::Part;

bool append_text(std::string& out, std::string_view text) {
  out += text;
  return !text.empty();
}

bool append_number(std::string& out, uint64_t number) {
  std::array<char, 24> digits{};
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), number);
  out.append(digits.data(), end.ptr);
  return true;
}

bool append_milliseconds(std::string& out, std::optional<std::chrono::nanoseconds> time) {
  if (!time) return false;
  return append_number(out, static_cast<uint64_t>(std::max<int64_t>(time->count(), 0)) / 1'000'000);
}

bool append_address(std::string& out, const SocketAddress& address, Part part) {
  if (address.port == 0 && address.ip.is_unspecified()) return false;
  if (part == Part::kPort) return append_number(out, address.port);
  return append_text(out, part == Part::kAll ? address.to_string() : address.ip.to_string());
}

std::string_view header_of(const http::RequestHead& head, std::string_view name) {
  if (!name.starts_with(':')) return head.fields.get(name);
  if (name == ":method") return head.method;
  if (name == ":path") return head.path;
  if (name == ":authority") return head.authority;
  if (name == ":scheme") return head.scheme;
  return {};
}

std::string_view answer_header(const RequestFacts& facts, std::string_view name) {
  return facts.response == nullptr ? std::string_view() : facts.response->fields.get(name);
}

std::string_view trailer_of(const RequestFacts& facts, std::string_view name) {
  return facts.trailers == nullptr ? std::string_view() : facts.trailers->get(name);
}

std::string_view named(const LogPiece& piece, const RequestFacts& facts, std::string_view name) {
  switch (piece.kind) {
    case Kind::kRequestHeader:
      return header_of(*facts.request, name);
    case Kind::kRequestHeaderWithoutQuery: {
      const std::string_view path = header_of(*facts.request, name);
      return path.substr(0, path.find('?'));
    }
    case Kind::kResponseHeader:
      return answer_header(facts, name);
    default:
      return trailer_of(facts, name);
  }
}

bool append_grpc_status(std::string& out, const RequestFacts& facts, bool as_number) {
  constexpr std::array<std::string_view, 17> kNames{
      "OK",       "Canceled",       "Unknown",          "InvalidArgument",   "DeadlineExceeded",
      "NotFound", "AlreadyExists",  "PermissionDenied", "ResourceExhausted", "FailedPrecondition",
      "Aborted",  "OutOfRange",     "Unimplemented",    "Internal",          "Unavailable",
      "DataLoss", "Unauthenticated"};
  const auto status = facts.grpc_status();
  if (!status) return false;
  const auto index = static_cast<size_t>(*status);
  if (as_number || index >= kNames.size()) return append_number(out, index);
  return append_text(out, kNames[index]);
}

bool append_uri(std::string& out, const SpiffeId* id) {
  return id != nullptr && append_text(out, id->to_string());
}

bool append_whole(std::string& out, const LogPiece& piece, const RequestFacts& facts) {
  const auto since = [](auto later, auto earlier) {
    return later && earlier ? std::optional(*later - *earlier) : std::nullopt;
  };
  switch (piece.kind) {
    case Kind::kLiteral:
      out += piece.text;
      return true;
    case Kind::kNothing:
      return false;
    case Kind::kRequestHeader:
    case Kind::kRequestHeaderWithoutQuery:
    case Kind::kResponseHeader:
    case Kind::kTrailer:
      return append_text(out, named(piece, facts, piece.text)) ||
             (!piece.other.empty() && append_text(out, named(piece, facts, piece.other)));
    case Kind::kStartTime:
      append_time(out, facts.began, piece.text);
      return true;
    case Kind::kProtocol:
      return append_text(out, protocol_of(facts.request->version));
    case Kind::kStatus:
      return append_number(out, static_cast<uint64_t>(facts.status));
    case Kind::kDetails:
      return append_text(out, facts.details);
    case Kind::kTerminationDetails:
      return append_text(out, facts.termination_details);
    case Kind::kFlags:
      return append_text(out, facts.flags);
    case Kind::kUpstreamFailure:
      return append_text(out, facts.upstream_failure);
    case Kind::kBytesReceived:
      return append_number(out, facts.request_bytes);
    case Kind::kBytesSent:
      return append_number(out, facts.response_bytes);
    case Kind::kDuration:
      return append_milliseconds(out, facts.duration);
    case Kind::kRequestDuration:
      return append_milliseconds(out, facts.request_whole);
    case Kind::kResponseDuration:
      return append_milliseconds(out, facts.upstream_answered);
    case Kind::kResponseSendDuration:
      return append_milliseconds(out,
                                 since(std::optional(facts.duration), facts.upstream_answered));
    case Kind::kUpstreamHost:
      return append_text(out, facts.upstream_host);
    case Kind::kUpstreamAddress:
      return append_text(out, facts.upstream_host.substr(0, facts.upstream_host.rfind(':')));
    case Kind::kUpstreamCluster:
      return append_text(out, facts.upstream_cluster);
    case Kind::kUpstreamLocal:
      return append_address(out, facts.upstream_local, piece.part);
    case Kind::kDownstreamLocal:
      return append_address(out, facts.downstream_local, piece.part);
    case Kind::kDownstreamRemote:
      return append_address(out, facts.downstream_remote, piece.part);
    case Kind::kServerName:
      return append_text(out, facts.server_name);
    case Kind::kRouteName:
      return append_text(out, facts.route_name);
    case Kind::kGrpcStatus:
    case Kind::kGrpcStatusNumber:
      return append_grpc_status(out, facts, piece.kind == Kind::kGrpcStatusNumber);
    case Kind::kTries:
      return append_number(out, facts.tries);
    case Kind::kPeerUri:
      return append_uri(out, facts.source.principal);
  }
  return false;
}

// Envoy's %3f, %6f and %9f: parts of a second, before strftime sees the rest.
std::string with_fractions(std::string_view format, int64_t nanoseconds) {
  std::array<char, 16> digits{};
  std::snprintf(digits.data(), digits.size(), "%09d", static_cast<int>(nanoseconds));
  std::string made;
  for (size_t i = 0; i < format.size(); ++i) {
    const bool is_fraction = format[i] == '%' && i + 2 < format.size() && format[i + 2] == 'f' &&
                             format[i + 1] >= '1' && format[i + 1] <= '9';
    if (is_fraction) {
      made.append(digits.data(), static_cast<size_t>(format[i + 1] - '0'));
      i += 2;
    } else {
      made += format[i];
      // "%%" is a pair, whose second one begins nothing.
      if (format[i] == '%' && i + 1 < format.size()) made += format[++i];
    }
  }
  return made;
}

// How long the UTF-8 sequence at the text's beginning is; 0: it is none.
size_t utf8_length(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const auto lead = byte(0);
  const size_t length = lead < 0x80   ? 1
                        : lead < 0xc2 ? 0
                        : lead < 0xe0 ? 2
                        : lead < 0xf0 ? 3
                        : lead < 0xf5 ? 4
                                      : 0;
  if (length == 0 || length > text.size()) return 0;
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
  }
  const bool is_overlong = (lead == 0xe0 && byte(1) < 0xa0) || (lead == 0xf0 && byte(1) < 0x90);
  const bool is_none = (lead == 0xed && byte(1) >= 0xa0) || (lead == 0xf4 && byte(1) >= 0x90);
  return is_overlong || is_none ? 0 : length;
}

}  // namespace

bool append_value(std::string& out, const LogPiece& piece, const RequestFacts& facts) {
  const size_t before = out.size();
  if (!append_whole(out, piece, facts)) {
    out.resize(before);
    return false;
  }
  if (piece.length_max > 0 && out.size() > before + piece.length_max) {
    out.resize(before + piece.length_max);
  }
  return true;
}

void append_time(std::string& out, std::chrono::system_clock::time_point time,
                 std::string_view format) {
  constexpr int64_t kSecond = 1'000'000'000;
  const int64_t since =
      std::chrono::duration_cast<std::chrono::nanoseconds>(time.time_since_epoch()).count();
  const auto seconds = static_cast<std::time_t>(since / kSecond);
  const std::string whole =
      with_fractions(format.empty() ? "%Y-%m-%dT%H:%M:%S.%3fZ" : format, since % kSecond);
  std::tm parts{};
  ::gmtime_r(&seconds, &parts);
  std::array<char, 256> text{};
  out.append(text.data(), std::strftime(text.data(), text.size(), whole.c_str(), &parts));
}

void append_json_string(std::string& out, std::string_view text) {
  out += '"';
  while (!text.empty()) {
    const size_t length = utf8_length(text);
    const char c = text.front();
    if (length == 0) {
      out += "\xef\xbf\xbd";
    } else if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (length == 1 && static_cast<unsigned char>(c) < 0x20) {
      std::array<char, 8> escape{};
      std::snprintf(escape.data(), escape.size(), "\\u%04x", static_cast<unsigned>(c));
      out += escape.data();
    } else {
      out += text.substr(0, length);
    }
    text.remove_prefix(std::max<size_t>(length, 1));
  }
  out += '"';
}

}  // namespace weft::telemetry
