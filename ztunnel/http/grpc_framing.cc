#include "ztunnel/http/grpc_framing.h"

#include <array>
#include <charconv>

namespace weft::http {
namespace {

constexpr size_t kPrefixBytes = 5;
constexpr size_t kStatusMessageBytesMax = 4096;  // of an untrusted text that goes to a log

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// grpc-message is percent-encoded; what is malformed stays as it is.
std::string percent_decoded(std::string_view text) {
  text = text.substr(0, kStatusMessageBytesMax);
  std::string decoded;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && i + 2 < text.size() && hex_digit(text[i + 1]) >= 0 &&
        hex_digit(text[i + 2]) >= 0) {
      decoded += static_cast<char>(hex_digit(text[i + 1]) * 16 + hex_digit(text[i + 2]));
      i += 2;
    } else {
      decoded += text[i];
    }
  }
  return decoded;
}

constexpr std::array<std::string_view, 17> kStatusNames{
    "OK",        "CANCELLED",      "UNKNOWN",           "INVALID_ARGUMENT",   "DEADLINE_EXCEEDED",
    "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION",
    "ABORTED",   "OUT_OF_RANGE",   "UNIMPLEMENTED",     "INTERNAL",           "UNAVAILABLE",
    "DATA_LOSS", "UNAUTHENTICATED"};

Code code_of(size_t status) {
  switch (status) {
    case 1:
      return Code::kCancelled;
    case 3:
      return Code::kInvalid;
    case 4:
      return Code::kTimeout;
    case 5:
      return Code::kNotFound;
    case 7:
    case 16:
      return Code::kRefused;
    case 8:
      return Code::kLimit;
    case 12:
      return Code::kUnsupported;
    case 14:
      return Code::kUnavailable;
    default:
      return Code::kInternal;
  }
}

}  // namespace

std::string frame_message(std::string_view message) {
  const auto size = static_cast<uint32_t>(message.size());
  std::string framed;
  framed.reserve(kPrefixBytes + message.size());
  framed += '\0';
  for (const int shift : {24, 16, 8, 0}) framed += static_cast<char>(size >> shift & 0xff);
  framed += message;
  return framed;
}

void MessageReader::feed(std::string_view bytes) {
  if (taken_ > 0 && taken_ == pending_.size()) {
    pending_.clear();
    taken_ = 0;
  }
  pending_ += bytes;
}

Result<std::optional<std::string>> MessageReader::next() {
  const std::string_view rest = std::string_view(pending_).substr(taken_);
  if (rest.size() < kPrefixBytes) return std::nullopt;
  if (rest[0] != 0) {
    return fail(Code::kUnsupported, "gRPC: the peer compressed a message, which was not offered");
  }
  size_t size = 0;
  for (size_t i = 1; i < kPrefixBytes; ++i) size = size << 8 | static_cast<unsigned char>(rest[i]);
  if (size > message_bytes_max_) {
    return fail(Code::kLimit, "gRPC: a message of " + std::to_string(size) + " bytes; at most " +
                                  std::to_string(message_bytes_max_) + " are taken");
  }
  if (rest.size() < kPrefixBytes + size) return std::nullopt;
  std::string message(rest.substr(kPrefixBytes, size));
  taken_ += kPrefixBytes + size;
  if (taken_ > pending_.size() / 2) {
    pending_.erase(0, taken_);
    taken_ = 0;
  }
  return message;
}

std::optional<Error> status_error(const std::vector<Header>& headers,
                                  const std::vector<Header>& trailers) {
  const std::string_view http_status = find_header(headers, ":status");
  const bool in_trailers = !find_header(trailers, "grpc-status").empty();
  const std::vector<Header>& from = in_trailers ? trailers : headers;
  const std::string_view text = find_header(from, "grpc-status");
  if (text.empty()) {
    if (http_status != "200") {
      return Error(Code::kUnavailable, "gRPC: HTTP status " + std::string(http_status));
    }
    return Error(Code::kReset, "gRPC: the stream ended without a status");
  }
  size_t status = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), status);
  if (error != std::errc{} || end != text.data() + text.size()) {
    return Error(Code::kInternal, "gRPC: malformed grpc-status");
  }
  if (status == 0) return std::nullopt;
  std::string message(status < kStatusNames.size() ? kStatusNames[status] : "UNKNOWN");
  const std::string said = percent_decoded(find_header(from, "grpc-message"));
  if (!said.empty()) message += ": " + said;
  return Error(code_of(status), std::move(message));
}

}  // namespace weft::http
