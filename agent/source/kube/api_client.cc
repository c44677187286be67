#include "agent/source/kube/api_client.h"

#include "agent/source/kube/credentials.h"
#include "agent/source/kube/dial.h"
#include "agent/source/kube/link.h"

#include <simdjson.h>

#include <algorithm>
#include <charconv>
#include <set>

namespace weft::source::kube {
namespace {

using http::H2Stream;
using runtime::Buffer;
using runtime::Task;

// Of a refusal that stands in place of a stream.
constexpr size_t kRefusalBytesMax = 64U << 10;
// A server may close the connection under a request that it has not looked at (GOAWAY).
constexpr int kTriesMax = 3;
// What a server may ask us to wait; some say hours.
constexpr std::chrono::seconds kRetryAfterMax{60};

int status_of(const std::vector<http::Header>& headers) {
  const std::string_view text = http::find_header(headers, ":status");
  int status = 0;
  std::from_chars(text.data(), text.data() + text.size(), status);
  return status;
}

// Seconds; the form with a date is not used by API servers.
std::optional<std::chrono::milliseconds> retry_after_of(const std::vector<http::Header>& headers) {
  const std::string_view text = http::find_header(headers, "retry-after");
  int64_t seconds = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), seconds);
  if (text.empty() || parsed.ec != std::errc() || seconds < 0) return std::nullopt;
  return std::min(std::chrono::seconds(seconds), kRetryAfterMax);
}

Response head_of(const H2Stream& stream) {
  return {.status = status_of(stream.headers()),
          .body = {},
          .retry_after = retry_after_of(stream.headers())};
}

// One request under way: what its deadline or stop() breaks off.
struct Call {
  bool given_up = false;
  H2Stream* stream = nullptr;

  void give_up() {
    given_up = true;
    if (stream != nullptr) stream->abort();
  }
};

Task<Result<void>> read_body(H2Stream& stream, size_t bytes_max, std::string& body) {
  const std::string_view length = http::find_header(stream.headers(), "content-length");
  size_t expected = 0;
  std::from_chars(length.data(), length.data() + length.size(), expected);
  // Room behind it, so that the parser need not copy it.
  body.reserve(std::min(expected, bytes_max) + simdjson::SIMDJSON_PADDING);
  while (true) {
    const Buffer bytes = CO_TRY(co_await stream.read());
    if (bytes.empty()) co_return Result<void>();
    if (body.size() + bytes.size() > bytes_max) {
      co_return fail(Code::kLimit, "the API server's answer is longer than " +
                                       std::to_string(bytes_max) + " bytes");
    }
    body += bytes.text();
  }
}

class Answer final : public ResponseStream {
 public:
  Answer(std::unique_ptr<H2Stream> stream, Response head)
      : stream_(std::move(stream)), head_(std::move(head)) {}
  const Response& head() const override { return head_; }
  Task<Result<Buffer>> read() override { return stream_->read(); }
  void abort() override { stream_->abort(); }

 private:
  std::unique_ptr<H2Stream> stream_;
  Response head_;
};

class Client final : public ApiClient {
 public:
  Client(runtime::Loop& loop, ApiConfig config, Dial dial)
      : loop_(loop),
        config_(std::move(config)),
        credentials_(loop, config_),
        link_(
            loop,
            dial ? std::move(dial) : [this] { return dial_server(loop_, config_, credentials_); },
            [this] { return credentials_.certificate_generation(); }) {}

  Task<Result<Response>> request(Request request) override {
    while (under_way_ >= kRequestsMax && !stopped_) co_await free_.wait();
    if (stopped_) co_return cancelled();
    ++under_way_;
    Result<Response> response = co_await one_request(request);
    --under_way_;
    free_.wake();
    co_return response;
  }

  Task<Result<std::unique_ptr<ResponseStream>>> stream(Request request) override {
    Call call;
    calls_.insert(&call);
    const runtime::Deadline deadline(loop_, request.timeout, [this, &call] { expire(call); });
    Response head;
    auto stream = co_await open(request, call, head);
    if (stream && !head.is_good()) {
      call.stream = stream->get();
      const auto read = co_await read_body(**stream, kRefusalBytesMax, head.body);
      call.stream = nullptr;
      if (!read && read.error().code != Code::kLimit) stream = Fail(read.error());
    }
    calls_.erase(&call);
    if (!stream && deadline.expired()) co_return timed_out(request);
    if (!stream) co_return Fail(std::move(stream.error()));
    co_return std::make_unique<Answer>(std::move(*stream), std::move(head));
  }

  const ApiConfig& config() const override { return config_; }
  runtime::Loop& loop() override { return loop_; }

  Task<void> stop() override {
    stopped_ = true;
    free_.wake();
    for (Call* call : std::set<Call*>(calls_)) call->give_up();
    co_await link_.stop();
  }

 private:
  static Fail cancelled() { return fail(Code::kCancelled, "the API client is stopped"); }
  Fail timed_out(const Request& request) const {
    return fail(Code::kTimeout, "API server " + config_.authority() + ": no answer to " +
                                    request.method + " " + request.path.substr(0, 200) + " in " +
                                    std::to_string(request.timeout.count()) + " ms");
  }
  void expire(Call& call) {
    call.give_up();
    link_.wake();
  }

  Task<Result<Response>> one_request(const Request& request) {
    Call call;
    calls_.insert(&call);
    const runtime::Deadline deadline(loop_, request.timeout, [this, &call] { expire(call); });
    Response response;
    Result<void> done;
    {
      auto stream = co_await open(request, call, response);
      if (stream) {
        call.stream = stream->get();
        done = co_await read_body(**stream, request.body_bytes_max, response.body);
        call.stream = nullptr;
      } else {
        done = Fail(std::move(stream.error()));
      }
    }
    calls_.erase(&call);
    if (!done && deadline.expired()) co_return timed_out(request);
    if (!done) co_return Fail(std::move(done.error()));
    co_return response;
  }

  // Sends the request until the server has looked at it, with credentials that it has not refused,
  // and returns behind the answer's headers. A refusal of our credentials is an answer, too.
  Task<Result<std::unique_ptr<H2Stream>>> open(const Request& request, Call& call, Response& head) {
    bool renewed = false;
    for (int tries = 1;; ++tries) {
      const std::string token = CO_TRY(co_await credentials_.token());
      auto connection = CO_TRY(co_await link_.get(call.given_up));
      auto opened = co_await send(request, token, connection->h2, call);
      if (!opened) {
        const bool again = opened.error().code == Code::kUnavailable && tries < kTriesMax;
        if (again && !call.given_up && !stopped_) continue;
        co_return Fail(std::move(opened.error()));
      }
      head = head_of(**opened);
      if (head.status == 401 && !renewed && credentials_.reject(token)) {
        renewed = true;
        continue;
      }
      co_return opened;
    }
  }

  Task<Result<std::unique_ptr<H2Stream>>> send(const Request& request, const std::string& token,
                                               http::H2Connection& connection, Call& call) {
    if (call.given_up || stopped_) co_return cancelled();
    auto stream = CO_TRY(connection.request(headers_of(request, token), request.body.empty()));
    call.stream = stream.get();
    Result<void> sent = co_await send_body(*stream, request.body);
    // A server may answer before it has taken the whole request.
    Result<void> answered = co_await stream->wait_headers();
    call.stream = nullptr;
    if (!answered) co_return Fail(sent ? std::move(answered.error()) : std::move(sent.error()));
    co_return stream;
  }

  Task<Result<void>> send_body(H2Stream& stream, const std::string& body) {
    if (body.empty()) co_return Result<void>();
    constexpr size_t kPiece = runtime::BufferPool::kBufferBytes;
    for (size_t at = 0; at < body.size(); at += kPiece) {
      Buffer piece = loop_.buffers().copy_of(std::string_view(body).substr(at, kPiece));
      CO_TRY(co_await stream.write(std::move(piece)));
    }
    co_return co_await stream.shutdown_write();
  }

  std::vector<http::Header> headers_of(const Request& request, const std::string& token) const {
    std::vector<http::Header> headers{{":method", request.method},
                                      {":scheme", "https"},
                                      {":path", config_.path_prefix + request.path},
                                      {":authority", config_.authority()},
                                      {"accept", request.accept},
                                      {"user-agent", "weft"}};
    if (!request.body.empty()) {
      headers.push_back({"content-type", request.content_type});
      headers.push_back({"content-length", std::to_string(request.body.size())});
    }
    if (!token.empty()) headers.push_back({"authorization", "Bearer " + token});
    return headers;
  }

  runtime::Loop& loop_;
  ApiConfig config_;
  Credentials credentials_;
  Link link_;
  std::set<Call*> calls_;
  size_t under_way_ = 0;
  bool stopped_ = false;
  runtime::Event free_;
};

}  // namespace

std::unique_ptr<ApiClient> ApiClient::make(runtime::Loop& loop, ApiConfig config) {
  return make(loop, std::move(config), {});
}

std::unique_ptr<ApiClient> ApiClient::make(runtime::Loop& loop, ApiConfig config, Dial dial) {
  return std::make_unique<Client>(loop, std::move(config), std::move(dial));
}

}  // namespace weft::source::kube
