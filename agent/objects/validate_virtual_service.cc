#include "agent/objects/validate.h"

#include <re2/re2.h>

#include <string>

namespace weft::objects {

namespace net = crd::networking;

namespace {

constexpr size_t kRegexBytesMax = 1024;  // Istio's
constexpr int kStatusMin = 200;          // of an injected answer
constexpr int kStatusMax = 599;

void check_regex(const std::string& regex, Report& report) {
  if (regex.size() > kRegexBytesMax) {
    return report.add("expected a regular expression of at most 1024 characters, got " +
                      std::to_string(regex.size()));
  }
  const RE2 compiled(regex, RE2::Quiet);
  if (!compiled.ok()) {
    report.add("expected a regular expression as RE2 has them, got \"" + regex +
               "\": " + compiled.error());
  }
}

// `may_be_star`: a single * is presence there.
void check_match(const net::StringMatch& match, bool may_be_star, Report& report) {
  if (match.match_case() != net::StringMatch::kRegex) return;
  if (may_be_star && match.regex() == "*") return;
  const auto here = report.at("regex");
  check_regex(match.regex(), report);
}

template <class Map>
void check_named(const Map& matches, std::string_view field, Report& report) {
  const auto map = report.at(field);
  for (const auto& [name, match] : matches) {
    const auto here = report.at_key(name);
    check_match(match, true, report);
  }
}

void check_http_match(const net::HttpMatch& match, Report& report) {
  const auto check = [&](const net::StringMatch& one, std::string_view field) {
    const auto here = report.at(field);
    check_match(one, false, report);
  };
  check(match.uri(), "uri");
  check(match.scheme(), "scheme");
  check(match.method(), "method");
  check(match.authority(), "authority");
  check_named(match.headers(), "headers", report);
  check_named(match.withoutheaders(), "withoutHeaders", report);
  check_named(match.queryparams(), "queryParams", report);
}

// One destination gets everything, whatever its weight.
template <class Destinations>
void check_weights(const Destinations& destinations, Report& report) {
  const auto list = report.at("route");
  int64_t sum = 0;
  for (int i = 0; i < destinations.size(); ++i) {
    sum += destinations[i].weight();
    if (destinations[i].weight() >= 0) continue;
    const auto here = report.at(static_cast<size_t>(i));
    const auto field = report.at("weight");
    report.add("expected 0 or more, got " + std::to_string(destinations[i].weight()));
  }
  if (destinations.size() > 1 && sum == 0) report.add("total destination weight = 0");
}

void check_action(const net::HttpRoute& rule, bool is_delegate, Report& report) {
  const int actions = (rule.route().empty() ? 0 : 1) + (rule.has_redirect() ? 1 : 0) +
                      (rule.has_directresponse() ? 1 : 0) + (rule.has_delegate() ? 1 : 0);
  if (actions > 1) {
    report.add("expected one of route, redirect, directResponse and delegate, got " +
               std::to_string(actions));
  } else if (actions == 0 && !is_delegate) {
    report.add("HTTP route, redirect or direct_response is required");
  }
}

void check_rewrite(const net::HttpRoute& rule, Report& report) {
  if (!rule.has_rewrite()) return;
  const auto here = report.at("rewrite");
  if (rule.has_redirect()) report.add("HTTP route rule cannot contain both rewrite and redirect");
  if (!rule.rewrite().has_uriregexrewrite()) return;
  const auto regex = report.at("uriRegexRewrite");
  if (!rule.rewrite().uri().empty()) report.add("expected only one of uri and uriRegexRewrite");
  const auto match = report.at("match");
  check_regex(rule.rewrite().uriregexrewrite().match(), report);
}

void check_abort(const net::HttpRoute& rule, Report& report) {
  const net::FaultAbort& abort = rule.fault().abort();
  if (abort.error_case() != net::FaultAbort::kHttpStatus) return;
  if (abort.httpstatus() >= kStatusMin && abort.httpstatus() <= kStatusMax) return;
  const auto fault = report.at("fault");
  const auto here = report.at("abort");
  const auto field = report.at("httpStatus");
  report.add("expected a status from 200 to 599, got " + std::to_string(abort.httpstatus()));
}

void check_http(const net::HttpRoute& rule, bool is_delegate, Report& report) {
  check_action(rule, is_delegate, report);
  {
    const auto list = report.at("match");
    for (int i = 0; i < rule.match_size(); ++i) {
      const auto here = report.at(static_cast<size_t>(i));
      check_http_match(rule.match(i), report);
    }
  }
  check_weights(rule.route(), report);
  check_rewrite(rule, report);
  check_abort(rule, report);
  if (rule.has_mirror() && !rule.mirrors().empty()) {
    const auto here = report.at("mirrors");
    report.add("expected only one of mirror and mirrors");
  }
  const auto cors = report.at("corsPolicy");
  const auto list = report.at("allowOrigins");
  for (int i = 0; i < rule.corspolicy().alloworigins_size(); ++i) {
    const auto here = report.at(static_cast<size_t>(i));
    check_match(rule.corspolicy().alloworigins(i), false, report);
  }
}

}  // namespace

void validate_virtual_service(const net::VirtualService& object, Report& report) {
  const auto spec = report.at("spec");
  const bool is_delegate = object.spec().hosts().empty();
  const auto each = [&](const auto& rules, std::string_view field, auto check) {
    const auto list = report.at(field);
    for (int i = 0; i < rules.size(); ++i) {
      const auto here = report.at(static_cast<size_t>(i));
      check(rules[i]);
    }
  };
  each(object.spec().http(), "http",
       [&](const net::HttpRoute& rule) { check_http(rule, is_delegate, report); });
  each(object.spec().tcp(), "tcp",
       [&](const net::TcpRoute& rule) { check_weights(rule.route(), report); });
  each(object.spec().tls(), "tls",
       [&](const net::TlsRoute& rule) { check_weights(rule.route(), report); });
}

}  // namespace weft::objects
