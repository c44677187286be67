#include "agent/compile/l7/gateway_http.h"

#include "agent/compile/l7/durations.h"
#include "agent/compile/l7/gateway_match.h"
#include "agent/compile/l7/http_actions.h"

#include <algorithm>

namespace weft::l7 {

namespace api = crd::gateway_api;
namespace wire = weft::route;

namespace {

constexpr int32_t kAttemptsDefault = 2;

// One match of one rule, and where it stands among all.
struct Ranked {
  Rank rank;
  wire::HttpRoute route;
};

// Istio's: what says nothing has its default; codes come beside what reached nobody.
void fill_times(const api::HttpRouteRule& rule, const compile::MeshConfig& config,
                wire::HttpRoute& route) {
  crd::networking::HttpRoute as_istio;
  if (rule.has_retry()) {
    crd::networking::HttpRetry& retry = *as_istio.mutable_retries();
    retry.set_attempts(rule.retry().has_attempts() ? static_cast<int32_t>(rule.retry().attempts())
                                                   : kAttemptsDefault);
    std::string on = "connect-failure,refused-stream,unavailable,cancelled";
    for (const uint32_t code : rule.retry().codes()) on += "," + std::to_string(code);
    retry.set_retryon(on);
    retry.set_backoff(rule.retry().backoff());
  }
  route.set_timeout_ms(to_ms(rule.timeouts().request()));
  const uint32_t each = to_ms(rule.timeouts().backendrequest());
  wire::Retry retry;
  const bool retries = fill_retry(as_istio, config, retry);
  if (each > 0 && rule.has_retry()) {
    retry.set_per_try_timeout_ms(each);
  } else if (each > 0) {
    route.set_timeout_ms(each);
  }
  if (retries) *route.mutable_retry() = std::move(retry);
}

void fill_backends(const api::HttpRouteRule& rule, const RouteObject& object, Resolver& resolver,
                   wire::HttpRoute& route) {
  route.mutable_forward();
  for (const api::BackendRef& ref : rule.backendrefs()) {
    const uint32_t weight = ref.has_weight() ? ref.weight() : 1;
    if (weight == 0) continue;
    auto& weighted = *route.mutable_forward()->add_destinations();
    weighted.set_weight(weight);
    *weighted.mutable_destination() = resolve_ref(ref, object, resolver);
    if (!fill_backend_filters(ref.filters(), weighted)) {
      weighted.Clear();  // its share gets 500, rather than pass without the filter
      weighted.set_weight(weight);
      weighted.mutable_destination();
    }
    if (!weighted.has_rewrite() || !route.has_rewrite()) continue;
    wire::Rewrite both = route.rewrite();
    both.MergeFrom(weighted.rewrite());
    *weighted.mutable_rewrite() = std::move(both);
  }
}

wire::HttpRoute compile_rule(const api::HttpRouteRule& rule, const RouteObject& object,
                             Resolver& resolver) {
  wire::HttpRoute route;
  route.set_name(rule.name());
  route.set_origin(object.to_string());
  if (!fill_rule_filters(rule.filters(), object, resolver, route)) {
    route.clear_redirect();
    route.mutable_forward();
    return route;
  }
  if (route.has_redirect()) return route;
  fill_backends(rule, object, resolver, route);
  fill_times(rule, resolver.config(), route);
  return route;
}

void add_route(const api::HttpRouteSpec& spec, const RouteObject& object, size_t age,
               Resolver& resolver, std::vector<Ranked>& all) {
  const bool is_grpc = object.kind == "GRPCRoute";
  for (int i = 0; i < spec.rules_size(); ++i) {
    const api::HttpRouteRule& rule = spec.rules(i);
    const wire::HttpRoute route = compile_rule(rule, object, resolver);
    const auto add = [&](const api::HttpRouteMatch& written) {
      Ranked one{{}, route};
      compile_gateway_match(written, is_grpc, *one.route.add_matches(), one.rank);
      one.rank.age = age;
      one.rank.rule = static_cast<size_t>(i);
      one.rank.match = all.size();
      all.push_back(std::move(one));
    };
    for (const api::HttpRouteMatch& match : rule.matches()) add(match);
    if (rule.matches().empty()) add({});
  }
}

}  // namespace

void fill_gateway_http(const std::vector<RoutesByParent::ObjectPtr>& routes, Resolver& resolver,
                       wire::Port& out) {
  std::vector<Ranked> all;
  for (size_t age = 0; age < routes.size(); ++age) {
    const objects::Key key = routes[age]->key();
    const RouteObject object{key.kind, key.ns, key.name};
    if (const auto* http = routes[age]->as<api::HTTPRoute>()) {
      add_route(http->spec(), object, age, resolver, all);
    } else if (const auto* grpc = routes[age]->as<api::GRPCRoute>()) {
      add_route(grpc->spec(), object, age, resolver, all);
    }
  }
  std::ranges::sort(all, {}, &Ranked::rank);
  for (Ranked& one : all) *out.add_http() = std::move(one.route);
}

void fill_gateway_tcp(const std::vector<RoutesByParent::ObjectPtr>& routes, const Backend& service,
                      Resolver& resolver, wire::Port& out) {
  for (const auto& route : routes) {
    const objects::Key key = route->key();
    const RouteObject object{key.kind, key.ns, key.name};
    const api::ConnectionRouteSpec* spec = nullptr;
    if (const auto* tcp = route->as<api::TCPRoute>()) spec = &tcp->spec();
    if (const auto* tls = route->as<api::TLSRoute>()) {
      // As Istio's waypoints: the name that TLS asks for must be the service's.
      if (tls->spec().hostnames_size() != 1 || tls->spec().hostnames(0) != service.hostname) {
        continue;
      }
      spec = &tls->spec();
    }
    if (spec == nullptr || spec->rules().empty()) continue;
    wire::TcpRoute& made = *out.add_tcp();
    made.set_name(spec->rules(0).name());
    made.set_origin(object.to_string());
    made.mutable_forward();
    for (const api::BackendRef& ref : spec->rules(0).backendrefs()) {
      const uint32_t weight = ref.has_weight() ? ref.weight() : 1;
      if (weight == 0) continue;
      auto& weighted = *made.mutable_forward()->add_destinations();
      weighted.set_weight(weight);
      *weighted.mutable_destination() = resolve_ref(ref, object, resolver);
    }
    return;
  }
}

}  // namespace weft::l7
