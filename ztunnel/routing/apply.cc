#include "ztunnel/routing/apply.h"

#include "ztunnel/routing/conditions.h"

#include <algorithm>
#include <string>
#include <utility>

namespace weft::routing {
namespace {

constexpr uint64_t kMillion = 1'000'000;

std::string_view own_port(std::string_view scheme) { return scheme == "https" ? "443" : "80"; }

// An absolute URL, as Envoy makes it: what the redirect does not name is as it came.
Result<std::string> location(const Match& match, const http::RequestHead& request) {
  const weft::route::Redirect& config = match.route->config->redirect();
  const std::string_view came = request.scheme.empty() ? "http" : request.scheme;
  const std::string_view scheme = config.scheme().empty() ? came : config.scheme();
  const std::string_view came_host = without_port(request.authority);
  const std::string_view host = config.host().empty() ? came_host : config.host();
  std::string port;
  if (config.port() != 0) {
    port = std::to_string(config.port());
  } else if (config.port_from() == weft::route::Redirect::REQUEST &&
             came_host.size() < request.authority.size()) {
    port = request.authority.substr(came_host.size() + 1);
    if (port == own_port(came)) port.clear();
  }
  if (port == own_port(scheme)) port.clear();
  std::string made = std::string(scheme) + "://" + std::string(host);
  if (!port.empty()) made += ":" + port;
  return made + TRY(match.route->redirect_path.path(request.path, match.prefix_bytes));
}

}  // namespace

Result<std::optional<Answer>> answer(const Match& match, const http::RequestHead& request) {
  const weft::route::HttpRoute& config = *match.route->config;
  if (match.route->cors) {
    if (auto preflight = match.route->cors->preflight(request)) {
      return Answer{*std::move(preflight), {}};
    }
  }
  Answer made;
  if (config.has_redirect()) {
    made.head.status = static_cast<int>(config.redirect().status());
    made.head.fields.add("location", TRY(location(match, request)));
    return made;
  }
  if (config.has_direct_response()) {
    made.head.status = static_cast<int>(config.direct_response().status());
    made.body = config.direct_response().body();
    if (!made.body.empty()) made.head.fields.add("content-type", "text/plain");
    return made;
  }
  return std::optional<Answer>();
}

const Weighted* choose(const Route& route, uint64_t dice) {
  if (route.destinations.empty()) return nullptr;
  if (route.destinations.size() == 1) return &route.destinations.front();
  const uint64_t fallen = dice % route.destinations.back().up_to;
  return &*std::ranges::upper_bound(route.destinations, fallen, {}, &Weighted::up_to);
}

bool falls(uint32_t per_million, uint64_t dice) { return dice % kMillion < per_million; }

Result<void> change_request(const Match& match, const Weighted& chosen, const Facts& facts,
                            http::RequestHead& request) {
  const Route& route = *match.route;
  const std::string_view old_authority = request.authority;
  route.request_headers.apply(request, facts);
  chosen.request_headers.apply(request, facts);
  const Rewrite& rewrite = chosen.rewrite ? *chosen.rewrite : route.rewrite;
  if (!rewrite.authority().empty()) request.authority = request.fields.keep(rewrite.authority());
  if (request.authority != old_authority && !old_authority.empty()) {
    request.fields.set("x-envoy-original-host", old_authority);
  }
  if (!rewrite.changes_path()) return {};
  const std::string path = TRY(rewrite.path(request.path, match.prefix_bytes));
  if (path == request.path) return {};
  request.fields.set("x-envoy-original-path", request.path);
  request.path = request.fields.keep(path);
  return {};
}

void change_response(const Route& route, const Weighted* chosen, const Facts& facts,
                     const http::RequestHead& request, http::ResponseHead& response) {
  if (route.cors) route.cors->tell(request, response);
  route.response_headers.apply(response, request, facts);
  if (chosen != nullptr) chosen->response_headers.apply(response, request, facts);
}

}  // namespace weft::routing
