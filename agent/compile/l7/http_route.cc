#include "agent/compile/l7/http_route.h"

#include "agent/compile/l7/durations.h"
#include "agent/compile/l7/http_actions.h"
#include "agent/compile/l7/http_match.h"

namespace weft::l7 {

namespace {

namespace wire = weft::route;
using crd::networking::Destination;
using crd::networking::HttpRouteDestination;

// The conditions up to the first that everything fulfils. False: there are some, but none that a
// request to this port can fulfil.
bool fill_matches(const Rule& rule, uint32_t port, CompiledRule& out) {
  if (rule.match().empty()) {
    out.catch_all = true;
    return true;
  }
  for (const auto& match : rule.match()) {
    auto compiled = compile_match(match, port);
    if (!compiled) continue;
    out.catch_all = is_catch_all(*compiled);
    *out.route.add_matches() = std::move(*compiled);
    if (out.catch_all) break;
  }
  return !out.route.matches().empty();
}

// Istio has a rule without a path stand for the prefix "/", which is then what a rewrite replaces.
void give_prefix(wire::HttpRoute& route) {
  if (route.matches().empty()) route.add_matches();
  for (auto& match : *route.mutable_matches()) {
    if (!match.has_path()) match.mutable_path()->set_prefix("/");
  }
}

wire::Destination resolve(const Destination& to, const Scope& scope, Resolver& resolver) {
  return resolver.resolve(to.host(), to.subset(), to.port().number(), scope.ns, scope.port);
}

void add_changes(const wire::HeaderChanges& more, wire::HeaderChanges& out) { out.MergeFrom(more); }

// With one destination its header changes are the route's, after the route's own.
void fill_only_destination(const HttpRouteDestination& only, const Scope& scope, Resolver& resolver,
                           wire::HttpRoute& route) {
  wire::Forward::Weighted& weighted = *route.mutable_forward()->add_destinations();
  weighted.set_weight(1);
  *weighted.mutable_destination() = resolve(only.destination(), scope, resolver);
  wire::HeaderChanges request;
  wire::HeaderChanges response;
  const std::string authority = fill_headers(only.headers().request(), request);
  fill_headers(only.headers().response(), response);
  if (request.ByteSizeLong() > 0) add_changes(request, *route.mutable_request_headers());
  if (response.ByteSizeLong() > 0) add_changes(response, *route.mutable_response_headers());
  if (!authority.empty() && route.rewrite().authority().empty()) {
    route.mutable_rewrite()->set_authority(authority);
  }
}

void fill_destinations(const Rule& rule, const Scope& scope, Resolver& resolver,
                       wire::HttpRoute& route) {
  route.mutable_forward();
  if (rule.route_size() == 1) {
    return fill_only_destination(rule.route(0), scope, resolver, route);
  }
  for (const HttpRouteDestination& destination : rule.route()) {
    if (destination.weight() <= 0) continue;
    wire::Forward::Weighted& weighted = *route.mutable_forward()->add_destinations();
    weighted.set_weight(static_cast<uint32_t>(destination.weight()));
    *weighted.mutable_destination() = resolve(destination.destination(), scope, resolver);
    if (!destination.has_headers()) continue;
    wire::HeaderChanges request;
    wire::HeaderChanges response;
    const std::string authority = fill_headers(destination.headers().request(), request);
    fill_headers(destination.headers().response(), response);
    if (request.ByteSizeLong() > 0) *weighted.mutable_request_headers() = request;
    if (response.ByteSizeLong() > 0) *weighted.mutable_response_headers() = response;
    if (authority.empty()) continue;
    *weighted.mutable_rewrite() = route.rewrite();
    weighted.mutable_rewrite()->set_authority(authority);
  }
}

void add_mirror(const Destination& to, uint32_t share, const Scope& scope, Resolver& resolver,
                wire::HttpRoute& route) {
  if (share == 0) return;
  wire::Mirror& mirror = *route.add_mirrors();
  *mirror.mutable_destination() = resolve(to, scope, resolver);
  mirror.set_per_million(share);
}

void fill_mirrors(const Rule& rule, const Scope& scope, Resolver& resolver,
                  wire::HttpRoute& route) {
  constexpr double kAll = 100;
  if (rule.has_mirror()) {
    double share = kAll;
    if (rule.has_mirrorpercentage()) {
      share = rule.mirrorpercentage().value();
    } else if (rule.has_mirrorpercent()) {
      share = rule.mirrorpercent();
    }
    add_mirror(rule.mirror(), per_million(share), scope, resolver, route);
  }
  for (const auto& mirror : rule.mirrors()) {
    const double share = mirror.has_percentage() ? mirror.percentage().value() : kAll;
    add_mirror(mirror.destination(), per_million(share), scope, resolver, route);
  }
}

// What counts whatever becomes of the request.
void fill_headers_of(const Rule& rule, wire::HttpRoute& route) {
  if (!rule.has_headers()) return;
  wire::HeaderChanges changes;
  const std::string authority = fill_headers(rule.headers().request(), changes);
  if (changes.ByteSizeLong() > 0) *route.mutable_request_headers() = changes;
  if (!authority.empty()) route.mutable_rewrite()->set_authority(authority);
  changes.Clear();
  fill_headers(rule.headers().response(), changes);
  if (changes.ByteSizeLong() > 0) *route.mutable_response_headers() = changes;
}

void fill_forward(const Rule& rule, const Scope& scope, Resolver& resolver,
                  wire::HttpRoute& route) {
  if (rule.has_rewrite()) {
    fill_rewrite(rule.rewrite(), *route.mutable_rewrite());
    if (route.rewrite().path_case() == wire::Rewrite::kPrefix) give_prefix(route);
  }
  fill_destinations(rule, scope, resolver, route);
  route.set_timeout_ms(to_ms(rule.timeout()));
  wire::Retry retry;
  if (fill_retry(rule, resolver.config(), retry)) *route.mutable_retry() = std::move(retry);
  fill_mirrors(rule, scope, resolver, route);
}

}  // namespace

std::optional<CompiledRule> compile_rule(const Rule& rule, const Scope& scope, Resolver& resolver) {
  CompiledRule out;
  if (!fill_matches(rule, scope.port, out)) return std::nullopt;
  wire::HttpRoute& route = out.route;
  route.set_name(rule.name());
  route.set_origin(scope.origin);
  fill_headers_of(rule, route);
  if (rule.has_redirect()) {
    fill_redirect(rule.redirect(), scope.port, *route.mutable_redirect());
  } else if (rule.has_directresponse()) {
    fill_answer(rule.directresponse(), *route.mutable_direct_response());
  } else {
    fill_forward(rule, scope, resolver, route);
  }
  if (rule.has_fault()) {
    wire::Fault fault;
    fill_fault(rule.fault(), fault);
    if (fault.ByteSizeLong() > 0) *route.mutable_fault() = std::move(fault);
  }
  if (rule.has_corspolicy()) fill_cors(rule.corspolicy(), *route.mutable_cors());
  return out;
}

}  // namespace weft::l7
