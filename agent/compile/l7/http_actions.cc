#include "agent/compile/l7/http_actions.h"

#include "agent/compile/l7/durations.h"

#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>

namespace weft::l7 {

namespace net = crd::networking;

namespace {

constexpr uint32_t kRedirectDefault = 301;
constexpr double kMillionthsInPercent = 10'000;

std::string decode_base64(const std::string& text) {
  std::string bytes(text.size() / 4 * 3 + 3, '\0');
  const int size = EVP_DecodeBlock(reinterpret_cast<unsigned char*>(bytes.data()),
                                   reinterpret_cast<const unsigned char*>(text.data()),
                                   static_cast<int>(text.size()));
  if (size < 0) return {};
  const size_t padding = text.ends_with("==") ? 2 : text.ends_with('=') ? 1 : 0;
  bytes.resize(static_cast<size_t>(size) - padding);
  return bytes;
}

void fill_text(const net::StringMatch& match, weft::route::StringMatch& out) {
  // For CORS a single * is any origin.
  if (match.match_case() == net::StringMatch::kExact && match.exact() != "*") {
    out.set_exact(match.exact());
  } else if (match.match_case() == net::StringMatch::kPrefix) {
    out.set_prefix(match.prefix());
  } else if (match.match_case() == net::StringMatch::kRegex) {
    out.set_regex(match.regex());
  } else {
    out.set_present(true);
  }
}

using Sorted = std::map<std::string, std::string>;  // protobuf's maps have no order
Sorted sorted(const google::protobuf::Map<std::string, std::string>& map) {
  return {map.begin(), map.end()};
}

constexpr std::array<std::string_view, 17> kGrpcStatuses = {
    "OK",        "CANCELLED",      "UNKNOWN",           "INVALID_ARGUMENT",   "DEADLINE_EXCEEDED",
    "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION",
    "ABORTED",   "OUT_OF_RANGE",   "UNIMPLEMENTED",     "INTERNAL",           "UNAVAILABLE",
    "DATA_LOSS", "UNAUTHENTICATED"};

}  // namespace

bool is_authority(std::string name) {
  for (char& c : name) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return name == "host" || name == ":authority";
}

uint32_t per_million(double percent) {
  return static_cast<uint32_t>(
      std::llround(std::clamp(percent, 0.0, 100.0) * kMillionthsInPercent));
}

void fill_redirect(const net::HttpRedirect& redirect, uint32_t port, weft::route::Redirect& out) {
  out.set_status(redirect.redirectcode() == 0 ? kRedirectDefault : redirect.redirectcode());
  out.set_scheme(redirect.scheme());
  out.set_host(redirect.authority());
  if (!redirect.uri().empty()) out.mutable_path()->set_full(redirect.uri());
  if (redirect.redirect_port_case() == net::HttpRedirect::kPort) {
    out.set_port(redirect.port());
  } else if (redirect.redirect_port_case() == net::HttpRedirect::kDerivePort) {
    if (redirect.deriveport() == net::HttpRedirect::FROM_REQUEST_PORT) {
      out.set_port(port);
    } else {
      out.set_port_from(weft::route::Redirect::SCHEME);
    }
  }
}

void fill_answer(const net::DirectResponse& answer, weft::route::DirectResponse& out) {
  out.set_status(answer.status());
  const net::HttpBody& body = answer.body();
  out.set_body(body.specifier_case() == net::HttpBody::kBytes ? decode_base64(body.bytes())
                                                              : body.string());
}

void fill_rewrite(const net::HttpRewrite& rewrite, weft::route::Rewrite& out) {
  if (rewrite.has_uriregexrewrite()) {
    out.mutable_regex()->set_match(rewrite.uriregexrewrite().match());
    out.mutable_regex()->set_substitution(rewrite.uriregexrewrite().rewrite());
  } else if (!rewrite.uri().empty()) {
    out.set_prefix(rewrite.uri());
  }
  if (!rewrite.authority().empty()) out.set_authority(rewrite.authority());
}

void fill_cors(const net::CorsPolicy& policy, weft::route::Cors& out) {
  for (const auto& origin : policy.alloworigins()) fill_text(origin, *out.add_origins());
  for (const std::string& origin : policy.alloworigin()) {
    net::StringMatch exact;
    exact.set_exact(origin);
    fill_text(exact, *out.add_origins());
  }
  *out.mutable_methods() = policy.allowmethods();
  *out.mutable_headers() = policy.allowheaders();
  *out.mutable_expose() = policy.exposeheaders();
  if (!policy.maxage().empty()) out.set_max_age_s(to_ms(policy.maxage()) / 1000);
  out.set_credentials(policy.allowcredentials());
  out.set_forward_unmatched_preflights(policy.unmatchedpreflights() != net::CorsPolicy::IGNORE);
}

void fill_fault(const net::HttpFault& fault, weft::route::Fault& out) {
  if (fault.delay().delay_case() == net::FaultDelay::kFixedDelay) {
    const net::FaultDelay& delay = fault.delay();
    const uint32_t share =
        per_million(delay.has_percentage() ? delay.percentage().value() : delay.percent());
    if (share > 0) {
      out.mutable_delay()->set_per_million(share);
      out.mutable_delay()->set_delay_ms(to_ms(delay.fixeddelay()));
    }
  }
  const net::FaultAbort& abort = fault.abort();
  const uint32_t share = per_million(abort.percentage().value());
  if (share == 0) return;
  if (abort.error_case() == net::FaultAbort::kHttpStatus) {
    out.mutable_abort()->set_per_million(share);
    out.mutable_abort()->set_http_status(static_cast<uint32_t>(abort.httpstatus()));
  } else if (abort.error_case() == net::FaultAbort::kGrpcStatus) {
    const auto* found = std::ranges::find(kGrpcStatuses, abort.grpcstatus());
    if (found == kGrpcStatuses.end()) return;
    out.mutable_abort()->set_per_million(share);
    out.mutable_abort()->set_grpc_status(static_cast<uint32_t>(found - kGrpcStatuses.begin()));
  }
}

std::string fill_headers(const net::HeaderOperations& operations, weft::route::HeaderChanges& out) {
  std::string authority;
  const auto fill = [&](const Sorted& from, auto add) {
    for (const auto& [name, value] : from) {
      if (is_authority(name)) {
        if (authority.empty()) authority = value;
        continue;
      }
      weft::route::HeaderChanges::Value& change = *add();
      change.set_name(name);
      change.set_value(value);
    }
  };
  fill(sorted(operations.set()), [&] { return out.add_set(); });
  fill(sorted(operations.add()), [&] { return out.add_add(); });
  for (const std::string& name : operations.remove()) out.add_remove(name);
  return authority;
}

}  // namespace weft::l7
