#include "ztunnel/telemetry/request.h"

#include <charconv>

namespace weft::telemetry {

bool RequestFacts::is_grpc() const {
  const std::string_view type = request->fields.get("content-type");
  constexpr std::string_view kGrpc = "application/grpc";
  // Not grpc-web, which browsers speak.
  return type.starts_with(kGrpc) &&
         (type.size() == kGrpc.size() || type[kGrpc.size()] == '+' || type[kGrpc.size()] == ';');
}

std::optional<int> RequestFacts::grpc_status() const {
  std::string_view text;
  if (trailers != nullptr) text = trailers->get("grpc-status");
  if (text.empty() && response != nullptr) text = response->fields.get("grpc-status");
  int number = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), number);
  const bool is_number =
      !text.empty() && parsed.ec == std::errc() && parsed.ptr == text.data() + text.size();
  if (!is_number || number < 0) return std::nullopt;
  return number;
}

std::string_view protocol_of(http::Version version) {
  switch (version) {
    case http::Version::kHttp10:
      return "HTTP/1.0";
    case http::Version::kHttp11:
      return "HTTP/1.1";
    case http::Version::kHttp2:
      return "HTTP/2";
  }
  return "HTTP/1.1";
}

}  // namespace weft::telemetry
