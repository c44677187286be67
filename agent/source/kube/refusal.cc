#include "agent/objects/report.h"
#include "agent/objects/tree.h"
#include "agent/source/kube/api_client.h"

namespace weft::source::kube {
namespace {

// Of the server's words: they end in logs.
constexpr size_t kMessageBytesMax = 1024;
// A Status is small; a proxy's error page need not be parsed.
constexpr size_t kStatusBytesMax = 64U << 10;

Code code_of(int status) {
  switch (status) {
    case 401:
    case 403:
      return Code::kRefused;
    case 404:
    case 410:
      return Code::kNotFound;
    case 408:
    case 429:
      return Code::kUnavailable;
    case 413:
      return Code::kLimit;
    default:
      return status >= 500 ? Code::kUnavailable : Code::kInvalid;
  }
}

std::string_view hint_for(int status) {
  if (status == 401) return " (does the API server know this token or certificate?)";
  if (status == 403) return " (does an RBAC rule of this service account allow it?)";
  return "";
}

}  // namespace

Refusal refusal_of(const Response& response) {
  Refusal refusal{
      .status = response.status, .reason = {}, .message = {}, .retry_after = response.retry_after};
  if (response.body.size() <= kStatusBytesMax) {
    const auto document = objects::parse_json(response.body);
    if (document && document->text_of("kind") == "Status") {
      refusal.reason = document->text_of("reason");
      refusal.message = document->text_of("message");
    }
  }
  if (refusal.message.empty()) refusal.message = response.body.substr(0, kMessageBytesMax);
  refusal.message.resize(std::min(refusal.message.size(), kMessageBytesMax));
  refusal.message = objects::one_line(std::move(refusal.message));
  return refusal;
}

Error Refusal::to_error() const {
  std::string text = "the API server answered " + std::to_string(status);
  if (!reason.empty()) text += " " + objects::one_line(reason);
  if (!message.empty()) text += ": " + message;
  text += hint_for(status);
  return {code_of(status), std::move(text)};
}

Result<std::string> body_of(Result<Response> response) {
  if (!response) return Fail(std::move(response.error()));
  if (!response->is_good()) return Fail(refusal_of(*response).to_error());
  return std::move(response->body);
}

}  // namespace weft::source::kube
