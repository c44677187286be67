#include "agent/compile/l7/durations.h"
#include "agent/compile/l7/http_actions.h"

#include <algorithm>
#include <charconv>
#include <limits>

namespace weft::l7 {

namespace {

constexpr uint32_t kAttemptsDefault = 2;
constexpr std::string_view kOnDefault =
    "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes";
// Of a service that has no routes: only what certainly reached no application.
constexpr const char* kOnUnrouted = "reset-before-request";
constexpr const char* kByStatus = "retriable-status-codes";
constexpr uint32_t kBackoffBaseMs = 25;     // Envoy's
constexpr uint32_t kBackoffMaxFactor = 10;  // Envoy's

// Names of conditions and bare status codes; a code needs the name that makes it count.
void fill_conditions(std::string_view text, weft::route::Retry& out) {
  while (!text.empty()) {
    const size_t comma = std::min(text.find(','), text.size());
    std::string_view part = text.substr(0, comma);
    text.remove_prefix(std::min(comma + 1, text.size()));
    while (part.starts_with(' ')) part.remove_prefix(1);
    while (part.ends_with(' ')) part.remove_suffix(1);
    uint32_t status = 0;
    const auto [end, error] = std::from_chars(part.data(), part.data() + part.size(), status);
    if (error == std::errc{} && end == part.data() + part.size()) {
      out.add_statuses(status);
    } else if (!part.empty()) {
      out.add_on(std::string(part));
    }
  }
  const bool by_status = std::ranges::find(out.on(), kByStatus) != out.on().end();
  if (out.statuses_size() > 0 && !by_status) out.add_on(kByStatus);
}

void fill_backoff(uint32_t base_ms, weft::route::Retry& out) {
  constexpr uint32_t kLongest = std::numeric_limits<uint32_t>::max() / kBackoffMaxFactor;
  base_ms = base_ms == 0 ? kBackoffBaseMs : std::min(base_ms, kLongest);
  out.set_backoff_base_ms(base_ms);
  out.set_backoff_max_ms(base_ms * kBackoffMaxFactor);
}

}  // namespace

void fill_default_retry(weft::route::Retry& out) {
  out.set_attempts(kAttemptsDefault);
  out.add_on(kOnUnrouted);
  fill_backoff(0, out);
  out.set_avoid_previous_hosts(true);
}

bool fill_retry(const crd::networking::HttpRoute& rule, const compile::MeshConfig& config,
                weft::route::Retry& out) {
  const crd::networking::HttpRetry* written = nullptr;
  if (rule.has_retries()) {
    written = &rule.retries();
  } else if (config.written != nullptr && config.written->has_defaulthttpretrypolicy()) {
    written = &config.written->defaulthttpretrypolicy();
  }
  if (written == nullptr) {
    out.set_attempts(kAttemptsDefault);
    fill_conditions(kOnDefault, out);
    fill_backoff(0, out);
    out.set_avoid_previous_hosts(true);
    return true;
  }
  if (written->attempts() <= 0) return false;
  out.set_attempts(static_cast<uint32_t>(written->attempts()));
  out.set_per_try_timeout_ms(to_ms(written->pertrytimeout()));
  fill_conditions(written->retryon().empty() ? kOnDefault : std::string_view(written->retryon()),
                  out);
  fill_backoff(to_ms(written->backoff()), out);
  out.set_avoid_previous_hosts(!written->has_retryignoreprevioushosts() ||
                               written->retryignoreprevioushosts());
  out.set_other_localities(written->retryremotelocalities());
  return true;
}

}  // namespace weft::l7
