#pragma once

#include "ztunnel/base/result.h"
#include "ztunnel/telemetry/request.h"

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace weft::telemetry {

// One value of Envoy's "%OPERATOR(argument):length%", or literal text.
struct LogPiece {
  enum class Kind : uint8_t {
    kLiteral,
    kNothing,  // what Envoy could say and we cannot: always missing
    kRequestHeader,
    kRequestHeaderWithoutQuery,
    kResponseHeader,
    kTrailer,
    kStartTime,
    kProtocol,
    kStatus,
    kDetails,
    kTerminationDetails,
    kFlags,
    kUpstreamFailure,
    kBytesReceived,
    kBytesSent,
    kDuration,
    kRequestDuration,
    kResponseDuration,
    kResponseSendDuration,
    kUpstreamHost,
    kUpstreamAddress,  // the same without its port
    kUpstreamCluster,
    kUpstreamLocal,
    kDownstreamLocal,
    kDownstreamRemote,
    kServerName,
    kRouteName,
    kGrpcStatus,
    kGrpcStatusNumber,
    kTries,
    kPeerUri,
  };
  enum class Part : uint8_t { kAll, kAddress, kPort };  // of an address

  Kind kind = Kind::kLiteral;
  std::string text;       // the literal, the header's name in lower case, strftime's format
  std::string other;      // the header that stands in where the first is missing
  size_t length_max = 0;  // 0: no bound
  Part part = Part::kAll;
};

// An access log line as Envoy makes it, read once and then only filled in. Immutable.
class LogFormat {
 public:
  static constexpr size_t kFormatBytesMax = 64 * 1024;
  // What Istio logs by where nothing is configured.
  static constexpr std::string_view kDefaultText =
      "[%START_TIME%] \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%\" "
      "%RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %CONNECTION_TERMINATION_DETAILS% "
      "\"%UPSTREAM_TRANSPORT_FAILURE_REASON%\" %BYTES_RECEIVED% %BYTES_SENT% %DURATION% "
      "%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% \"%REQ(X-FORWARDED-FOR)%\" \"%REQ(USER-AGENT)%\" "
      "\"%REQ(X-REQUEST-ID)%\" \"%REQ(:AUTHORITY)%\" \"%UPSTREAM_HOST%\" %UPSTREAM_CLUSTER_RAW% "
      "%UPSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS% "
      "%REQUESTED_SERVER_NAME% %ROUTE_NAME%\n";
  using Fields = std::vector<std::pair<std::string, std::string>>;  // name, format
  static const Fields& default_fields();                            // the same as JSON

  // kInvalid names the operator that Envoy does not have, or what of one is malformed.
  static Result<LogFormat> of_text(std::string_view format);
  // One object a line. A value that is one operator keeps its type: a number, null where missing.
  static Result<LogFormat> of_fields(const Fields& fields);

  // One line, its end included.
  void append(std::string& out, const RequestFacts& facts) const;
  // Of a text: its value, without an end of line. False: nothing in it was there, and nothing was
  // appended.
  bool append_text(std::string& out, const RequestFacts& facts) const;

 private:
  using Pieces = std::vector<LogPiece>;
  static Result<Pieces> parse(std::string_view format);
  void append_json(std::string& out, const RequestFacts& facts) const;

  Pieces text_;
  std::vector<std::pair<std::string, Pieces>> fields_;  // names as JSON strings
};

// Appends a value; false: it is missing, and nothing was appended.
bool append_value(std::string& out, const LogPiece& piece, const RequestFacts& facts);
// "2026-01-02T03:04:05.678Z", or by a format of strftime's with Envoy's %3f, %6f and %9f besides.
void append_time(std::string& out, std::chrono::system_clock::time_point time,
                 std::string_view format);
// With quotes; what is no UTF-8 becomes U+FFFD.
void append_json_string(std::string& out, std::string_view text);

}  // namespace weft::telemetry
