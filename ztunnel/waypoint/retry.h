#pragma once

#include "proto/route.pb.h"
#include "ztunnel/base/result.h"
#include "ztunnel/http/message.h"

#include <chrono>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

// Whether a request is tried again, when, and how long it may take. Pure: the clock and the dice
// are the caller's.

namespace weft::waypoint {

// How one try ended before anything of its answer was passed on.
struct Outcome {
  enum class Kind : uint8_t {
    kAnswer,          // a response's head
    kConnectFailure,  // no connection: nothing was sent
    kRefused,         // the server says that it did nothing with it (REFUSED_STREAM, GOAWAY)
    kReset,           // broken off without an answer
    kTimeout,         // of the try
    kOverflow,        // a limit of the destination: never tried again
  };
  Kind kind = Kind::kAnswer;
  bool request_sent = false;                   // anything of it
  const http::ResponseHead* answer = nullptr;  // of kAnswer
};

// What a Retry and the request's own x-envoy-* headers say, in Envoy's words:
//   5xx, gateway-error, reset, reset-before-request, connect-failure, envoy-ratelimited,
//   retriable-4xx, refused-stream, retriable-status-codes,
//   cancelled, deadline-exceeded, internal, resource-exhausted, unavailable (of gRPC, in the head)
// A word that is not of these means nothing.
class RetryRules {
 public:
  RetryRules() = default;  // never
  // `config` may be null. x-envoy-retry-on, x-envoy-retry-grpc-on, x-envoy-retriable-status-codes
  // and x-envoy-max-retries add to what it says, or say it where it says nothing.
  RetryRules(const weft::route::Retry* config, const http::RequestHead& request);

  // Besides the first try; 0: none.
  uint32_t attempts() const { return conditions_ == 0 ? 0 : attempts_; }
  bool wants(const Outcome& outcome) const;

  // Before the `retry`th (from 1): fully jittered, evenly of [0, (2^retry - 1) * base), at most
  // max.
  std::chrono::milliseconds pause(uint32_t retry, uint64_t dice) const;

 private:
  void read_words(std::string_view list);
  void read_statuses(std::string_view list);
  bool wants_answer(const http::ResponseHead& answer) const;

  uint32_t attempts_ = 0;
  uint32_t conditions_ = 0;
  std::vector<uint32_t> statuses_;
  uint32_t backoff_base_ms_ = 25;  // Envoy's
  uint32_t backoff_max_ms_ = 0;    // 0: ten times the base, Envoy's
};

// How long a request may take.
struct Deadlines {
  std::chrono::milliseconds whole{
      0};  // all tries and the answer's last byte; 0: as long as it likes
  std::chrono::milliseconds per_try{0};  // until a try's answer begins; 0: as whole
};

// The route's, unless the request's x-envoy-upstream-rq-timeout-ms or
// x-envoy-upstream-rq-per-try-timeout-ms say otherwise; of gRPC what grpc-timeout says, at most the
// route's.
Deadlines deadlines_of(const weft::route::HttpRoute* route, const http::RequestHead& request);

// "100m": a value of up to 8 digits and its unit (H, M, S, m, u, n), rounded up to milliseconds.
// nullopt: not one.
std::optional<std::chrono::milliseconds> parse_grpc_timeout(std::string_view text);

// Takes away what was said to us, and is not for who comes next.
void remove_retry_headers(http::RequestHead& request);

}  // namespace weft::waypoint
