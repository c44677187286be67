#pragma once

#include "agent/source/kube/config.h"
#include "ztunnel/base/result.h"
#include "ztunnel/runtime/loop.h"
#include "ztunnel/runtime/stream.h"

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace weft::source::kube {

constexpr const char* kJson = "application/json";
constexpr const char* kMergePatch = "application/merge-patch+json";
constexpr const char* kApplyPatch = "application/apply-patch+yaml";

struct Request {
  std::string method = "GET";
  std::string path;  // "/api/v1/pods?limit=500", already escaped: see query()
  std::string body = {};
  std::string content_type = kJson;  // of the body
  std::string accept = kJson;
  std::chrono::milliseconds timeout{30'000};  // for the whole answer
  size_t body_bytes_max = 16U << 20;          // of the answer; kLimit above
};

// What the server answered, whatever it was.
struct Response {
  int status = 0;
  std::string body;
  std::optional<std::chrono::milliseconds> retry_after;  // of 429 and 503

  bool is_good() const { return status >= 200 && status < 300; }
};

// Why the server said no: an HTTP status and, where it sent one, its metav1.Status.
struct Refusal {
  int status = 0;
  std::string reason;   // "Expired", "Conflict", "Forbidden", ..; empty: it sent none
  std::string message;  // the server's words, or a piece of its body
  std::optional<std::chrono::milliseconds> retry_after;

  // 410, or reason Expired: the resourceVersion or the continue token is too old.
  bool is_expired() const { return status == 410 || reason == "Expired" || reason == "Gone"; }
  // "403 Forbidden: pods is forbidden: ..", with the code that fits.
  Error to_error() const;
};
Refusal refusal_of(const Response& response);
// The body of a good answer; otherwise the refusal as an Error.
Result<std::string> body_of(Result<Response> response);

// A bounded, streamed answer: a watch. Ends with the connection, the server's time limit, or
// abort().
class ResponseStream {
 public:
  virtual ~ResponseStream() = default;
  // Not good: nothing follows but head().body, and read() is not to be called.
  virtual const Response& head() const = 0;
  // The next bytes; empty: the server has ended the answer in good order.
  virtual runtime::Task<Result<runtime::Buffer>> read() = 0;
  virtual void abort() = 0;
};

// Makes the transport of one connection: tests put a peer of their own there.
using Dial = std::function<runtime::Task<Result<std::unique_ptr<runtime::ByteStream>>>()>;

// A client of one API server: one HTTP/2 connection, dialled when it is first needed and again
// after it broke (with back-off and jitter), shared by all requests. Credentials are added, and
// renewed after a 401, which is tried a second time. Belongs to one loop's thread.
//
// Nothing else is retried here: whoever asks knows what may be asked twice.
class ApiClient {
 public:
  static constexpr size_t kRequestsMax = 64;  // under way at once; more wait for their turn

  // Looks at nothing yet: the first request tells what is wrong.
  static std::unique_ptr<ApiClient> make(runtime::Loop& loop, ApiConfig config);
  // The same over transports that `dial` makes, TLS included.
  static std::unique_ptr<ApiClient> make(runtime::Loop& loop, ApiConfig config, Dial dial);
  virtual ~ApiClient() = default;

  // An Error: no answer was had (kUnavailable, kTimeout, kReset, kRefused by TLS, ..).
  virtual runtime::Task<Result<Response>> request(Request request) = 0;
  // Returns once the answer's headers are there; `timeout` is for these alone.
  virtual runtime::Task<Result<std::unique_ptr<ResponseStream>>> stream(Request request) = 0;

  virtual const ApiConfig& config() const = 0;
  virtual runtime::Loop& loop() = 0;
  // Breaks off what is under way; requests fail with kCancelled from now on. No stream may be held
  // when stop() has returned.
  virtual runtime::Task<void> stop() = 0;
};

// "a=1&b=x%3Dy": names as they are, values escaped.
std::string query(const std::vector<std::pair<std::string_view, std::string>>& parameters);
// One path segment or query value: everything but RFC 3986's unreserved characters is escaped.
std::string escape(std::string_view text);

}  // namespace weft::source::kube
