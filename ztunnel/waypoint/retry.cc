#include "ztunnel/waypoint/retry.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

namespace weft::waypoint {
namespace {

using std::chrono::milliseconds;

enum Condition : uint32_t {
  k5xx = 1 << 0,
  kGatewayError = 1 << 1,
  kReset = 1 << 2,
  kResetBeforeRequest = 1 << 3,
  kConnectFailure = 1 << 4,
  kRatelimited = 1 << 5,
  kRetriable4xx = 1 << 6,
  kRefusedStream = 1 << 7,
  kStatusCodes = 1 << 8,
  kCancelled = 1 << 9,
  kDeadlineExceeded = 1 << 10,
  kInternal = 1 << 11,
  kResourceExhausted = 1 << 12,
  kUnavailable = 1 << 13,
};

constexpr std::array<std::pair<std::string_view, Condition>, 14> kWords{{
    {"5xx", k5xx},
    {"gateway-error", kGatewayError},
    {"reset", kReset},
    {"reset-before-request", kResetBeforeRequest},
    {"connect-failure", kConnectFailure},
    {"envoy-ratelimited", kRatelimited},
    {"retriable-4xx", kRetriable4xx},
    {"refused-stream", kRefusedStream},
    {"retriable-status-codes", kStatusCodes},
    {"cancelled", kCancelled},
    {"deadline-exceeded", kDeadlineExceeded},
    {"internal", kInternal},
    {"resource-exhausted", kResourceExhausted},
    {"unavailable", kUnavailable},
}};

// gRPC's status codes that may be tried again.
constexpr std::array<std::pair<std::string_view, Condition>, 5> kGrpcStatuses{{
    {"1", kCancelled},
    {"4", kDeadlineExceeded},
    {"8", kResourceExhausted},
    {"13", kInternal},
    {"14", kUnavailable},
}};

// More than this many tries of one request help nobody, whatever its headers ask for.
constexpr uint32_t kAttemptsMax = 100;
// Nor more statuses than there are.
constexpr size_t kStatusesMax = 500;

std::optional<uint32_t> number_of(std::string_view text) {
  uint32_t value = 0;
  const auto [end, error] = std::from_chars(text.begin(), text.end(), value);
  if (text.empty() || error != std::errc() || end != text.end()) return std::nullopt;
  return value;
}

template <class Use>
void each_of(std::string_view list, Use use) {
  while (!list.empty()) {
    const size_t comma = std::min(list.find(','), list.size());
    std::string_view one = list.substr(0, comma);
    while (one.starts_with(' ')) one.remove_prefix(1);
    while (one.ends_with(' ')) one.remove_suffix(1);
    use(one);
    list.remove_prefix(std::min(comma + 1, list.size()));
  }
}

constexpr std::array<std::string_view, 6> kHeaders{"x-envoy-retry-on",
                                                   "x-envoy-retry-grpc-on",
                                                   "x-envoy-retriable-status-codes",
                                                   "x-envoy-max-retries",
                                                   "x-envoy-upstream-rq-timeout-ms",
                                                   "x-envoy-upstream-rq-per-try-timeout-ms"};

bool begins_with_x_envoy(const http::RequestHead& request) {
  return std::ranges::any_of(request.fields.all(), [](const http::FieldList::Field& field) {
    return field.name.starts_with("x-envoy-");
  });
}

}  // namespace

RetryRules::RetryRules(const weft::route::Retry* config, const http::RequestHead& request) {
  if (config != nullptr) {
    attempts_ = std::min(config->attempts(), kAttemptsMax);
    for (const std::string& word : config->on()) read_words(word);
    statuses_.assign(config->statuses().begin(), config->statuses().end());
    if (config->backoff_base_ms() != 0) backoff_base_ms_ = config->backoff_base_ms();
    backoff_max_ms_ = config->backoff_max_ms();
  }
  if (!begins_with_x_envoy(request)) return;
  const uint32_t configured = conditions_;
  read_words(request.fields.get("x-envoy-retry-on"));
  read_words(request.fields.get("x-envoy-retry-grpc-on"));
  if (configured == 0 && conditions_ != 0) attempts_ = 1;
  read_statuses(request.fields.get("x-envoy-retriable-status-codes"));
  if (const auto most = number_of(request.fields.get("x-envoy-max-retries"))) {
    attempts_ = std::min(*most, kAttemptsMax);
  }
}

void RetryRules::read_words(std::string_view list) {
  each_of(list, [this](std::string_view word) {
    for (const auto& [name, condition] : kWords) {
      if (word == name) conditions_ |= condition;
    }
  });
}

void RetryRules::read_statuses(std::string_view list) {
  each_of(list, [this](std::string_view word) {
    const auto status = number_of(word);
    if (status && statuses_.size() < kStatusesMax) statuses_.push_back(*status);
  });
}

bool RetryRules::wants(const Outcome& outcome) const {
  // A reset counts as a 5xx in Envoy, and as a gateway's error.
  constexpr uint32_t kAnyFailure = k5xx | kGatewayError | kReset;
  switch (outcome.kind) {
    case Outcome::Kind::kAnswer:
      return wants_answer(*outcome.answer);
    case Outcome::Kind::kConnectFailure:
      return (conditions_ & (kAnyFailure | kResetBeforeRequest | kConnectFailure)) != 0;
    case Outcome::Kind::kRefused:
      return (conditions_ & (kAnyFailure | kRefusedStream)) != 0 ||
             ((conditions_ & kResetBeforeRequest) != 0 && !outcome.request_sent);
    case Outcome::Kind::kReset:
      return (conditions_ & kAnyFailure) != 0 ||
             ((conditions_ & kResetBeforeRequest) != 0 && !outcome.request_sent);
    case Outcome::Kind::kTimeout:
      return (conditions_ & kAnyFailure) != 0;
    case Outcome::Kind::kOverflow:
      return false;
  }
  return false;
}

bool RetryRules::wants_answer(const http::ResponseHead& answer) const {
  const int status = answer.status;
  if (answer.fields.find("x-envoy-ratelimited") != nullptr) {
    return (conditions_ & kRatelimited) != 0;
  }
  if ((conditions_ & k5xx) != 0 && status >= 500) return true;
  if ((conditions_ & kGatewayError) != 0 && status >= 502 && status <= 504) return true;
  if ((conditions_ & kRetriable4xx) != 0 && status == 409) return true;
  if ((conditions_ & kStatusCodes) != 0 &&
      std::ranges::count(statuses_, static_cast<uint32_t>(status)) > 0) {
    return true;
  }
  const std::string_view grpc = answer.fields.get("grpc-status");
  return std::ranges::any_of(kGrpcStatuses, [&](const auto& one) {
    return one.first == grpc && (conditions_ & one.second) != 0;
  });
}

milliseconds RetryRules::pause(uint32_t retry, uint64_t dice) const {
  const uint64_t base = backoff_base_ms_;
  const uint64_t most = backoff_max_ms_ == 0 ? base * 10 : backoff_max_ms_;
  const uint64_t steps = (uint64_t{1} << std::min(retry, 31U)) - 1;
  const uint64_t bound = std::min(steps * base, most);
  return milliseconds(bound == 0 ? 0 : dice % bound);
}

std::optional<milliseconds> parse_grpc_timeout(std::string_view text) {
  constexpr size_t kDigitsMax = 8;
  if (text.size() < 2 || text.size() > kDigitsMax + 1) return std::nullopt;
  const auto value = number_of(text.substr(0, text.size() - 1));
  if (!value) return std::nullopt;
  using std::chrono::ceil;
  switch (text.back()) {
    case 'H':
      return std::chrono::hours(*value);
    case 'M':
      return std::chrono::minutes(*value);
    case 'S':
      return std::chrono::seconds(*value);
    case 'm':
      return milliseconds(*value);
    case 'u':
      return ceil<milliseconds>(std::chrono::microseconds(*value));
    case 'n':
      return ceil<milliseconds>(std::chrono::nanoseconds(*value));
    default:
      return std::nullopt;
  }
}

Deadlines deadlines_of(const weft::route::HttpRoute* route, const http::RequestHead& request) {
  Deadlines made;
  if (route != nullptr) {
    made.whole = milliseconds(route->timeout_ms());
    made.per_try = milliseconds(route->retry().per_try_timeout_ms());
  }
  if (request.fields.get("content-type").starts_with("application/grpc")) {
    if (const auto asked = parse_grpc_timeout(request.fields.get("grpc-timeout"))) {
      // 0 would be none: who asks for nothing at all gets the shortest there is.
      const milliseconds wanted = std::max(*asked, milliseconds(1));
      made.whole = made.whole.count() == 0 ? wanted : std::min(made.whole, wanted);
    }
  }
  if (begins_with_x_envoy(request)) {
    if (const auto ms = number_of(request.fields.get("x-envoy-upstream-rq-timeout-ms"))) {
      made.whole = milliseconds(*ms);
    }
    if (const auto ms = number_of(request.fields.get("x-envoy-upstream-rq-per-try-timeout-ms"))) {
      made.per_try = milliseconds(*ms);
    }
  }
  // A try that may take longer than everything has no limit of its own.
  if (made.whole.count() != 0 && made.per_try >= made.whole) made.per_try = milliseconds(0);
  return made;
}

void remove_retry_headers(http::RequestHead& request) {
  if (!begins_with_x_envoy(request)) return;
  for (const std::string_view name : kHeaders) request.fields.remove(name);
}

}  // namespace weft::waypoint
