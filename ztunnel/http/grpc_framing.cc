#include "ztunnel/http/grpc_framing.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

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

std::string message_prefix(size_t message_bytes) {
  std::string prefix(1, '\0');
  for (const int shift : {24, 16, 8, 0}) {
    prefix += static_cast<char>(message_bytes >> static_cast<unsigned>(shift) & 0xffU);
  }
  return prefix;
}

std::string timeout_header(std::chrono::milliseconds timeout) {
  // At most eight digits.
  if (timeout.count() > 99'999'999) {
    return std::to_string(std::min<int64_t>(timeout.count() / 1000, 99'999'999)) + "S";
  }
  return std::to_string(std::max<int64_t>(timeout.count(), 0)) + "m";
}

void MessageReader::feed(std::string_view bytes) {
  if (taken_ == fed_.size()) {
    fed_.assign(bytes);
    taken_ = 0;
  } else {
    fed_.append(bytes);
  }
}

std::string_view MessageReader::take(size_t bytes_max) {
  const std::string_view part = unread().substr(0, bytes_max);
  taken_ += part.size();
  return part;
}

Result<size_t> MessageReader::parse_prefix() const {
  if (prefix_[0] != 0) {
    return fail(Code::kUnsupported, "gRPC: the peer compressed a message, which was not offered");
  }
  size_t size = 0;
  for (size_t i = 1; i < kPrefixBytes; ++i) {
    size = size << 8U | static_cast<unsigned char>(prefix_[i]);
  }
  if (size > message_bytes_max_) {
    return fail(Code::kLimit, "gRPC: a message of " + std::to_string(size) + " bytes; at most " +
                                  std::to_string(message_bytes_max_) + " are taken");
  }
  return size;
}

Result<std::optional<std::string>> MessageReader::next() {
  if (prefix_.size() < kPrefixBytes) {
    prefix_ += take(kPrefixBytes - prefix_.size());
    if (prefix_.size() < kPrefixBytes) return std::nullopt;
    left_ = TRY(parse_prefix());
  }
  const std::string_view part = take(left_);
  message_ += part;
  left_ -= part.size();
  if (left_ > 0) return std::nullopt;
  prefix_.clear();
  return std::exchange(message_, {});
}

Result<void> check_response(const std::vector<Header>& headers) {
  const std::string_view status = find_header(headers, ":status");
  if (status != "200") {
    Code code = Code::kInternal;
    if (status == "401" || status == "403") code = Code::kRefused;
    if (status == "404") code = Code::kUnsupported;
    if (status == "429" || status == "502" || status == "503" || status == "504") {
      code = Code::kUnavailable;
    }
    return fail(code, "gRPC: HTTP status " + std::string(status));
  }
  if (!find_header(headers, "content-type").starts_with("application/grpc")) {
    return fail(Code::kInternal, "gRPC: the server's answer is not application/grpc");
  }
  return {};
}

std::optional<Error> status_error(const std::vector<Header>& headers,
                                  const std::vector<Header>& trailers) {
  const bool in_trailers = !find_header(trailers, "grpc-status").empty();
  const std::vector<Header>& from = in_trailers ? trailers : headers;
  const std::string_view text = find_header(from, "grpc-status");
  if (text.empty()) return Error(Code::kReset, "gRPC: the stream ended without a status");
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
