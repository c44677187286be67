#include "agent/compile/l7/durations.h"
#include "agent/compile/l7/gateway_http.h"
#include "agent/compile/l7/http_actions.h"

namespace weft::l7 {

namespace api = crd::gateway_api;
namespace wire = weft::route;

namespace {

constexpr uint32_t kRedirectDefault = 302;
constexpr uint32_t kMaxAgeDefault = 5;
constexpr double kAll = 100;

std::string fill_changes(const api::HeaderFilter& filter, wire::HeaderChanges& out) {
  std::string authority;
  const auto fill = [&](const auto& values, auto add) {
    for (const api::NamedValue& value : values) {
      if (is_authority(value.name())) {
        authority = value.value();
        continue;
      }
      wire::HeaderChanges::Value& change = *add();
      change.set_name(value.name());
      change.set_value(value.value());
    }
  };
  fill(filter.set(), [&] { return out.add_set(); });
  fill(filter.add(), [&] { return out.add_add(); });
  for (const std::string& name : filter.remove()) out.add_remove(name);
  return authority;
}

void fill_path(const api::PathModifier& path, wire::Rewrite& out) {
  if (path.type() == "ReplaceFullPath") out.set_full(path.replacefullpath());
  if (path.type() == "ReplacePrefixMatch") out.set_segment_prefix(path.replaceprefixmatch());
}

void fill_redirect(const api::RedirectFilter& filter, wire::Redirect& out) {
  out.set_status(filter.statuscode() == 0 ? kRedirectDefault : filter.statuscode());
  out.set_scheme(filter.scheme());
  out.set_host(filter.hostname());
  out.set_port(filter.port());
  if (filter.port() == 0 && !filter.scheme().empty()) out.set_port_from(wire::Redirect::SCHEME);
  if (filter.has_path()) fill_path(filter.path(), *out.mutable_path());
}

// "*", or a '*' in the place of a host's first labels.
void fill_origin(const std::string& origin, wire::StringMatch& out) {
  if (origin == "*") return out.set_present(true);
  const size_t star = origin.find('*');
  if (star == std::string::npos) return out.set_exact(origin);
  std::string regex;
  for (const char c : origin) {
    if (c == '*') {
      regex += ".*";
      continue;
    }
    const bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    if (!plain) regex += '\\';
    regex += c;
  }
  out.set_regex(regex);
}

void fill_cors(const api::CorsFilter& filter, wire::Cors& out) {
  for (const std::string& origin : filter.alloworigins()) fill_origin(origin, *out.add_origins());
  *out.mutable_methods() = filter.allowmethods();
  *out.mutable_headers() = filter.allowheaders();
  *out.mutable_expose() = filter.exposeheaders();
  out.set_max_age_s(filter.maxage() == 0 ? kMaxAgeDefault : filter.maxage());
  out.set_credentials(filter.allowcredentials());
}

uint32_t share_of(const api::MirrorFilter& filter) {
  if (filter.has_percent()) return per_million(filter.percent());
  if (!filter.has_fraction()) return per_million(kAll);
  const uint32_t of = filter.fraction().has_denominator() ? filter.fraction().denominator() : 100;
  return of == 0 ? 0 : per_million(kAll * filter.fraction().numerator() / of);
}

void fill_mirror(const api::MirrorFilter& filter, const RouteObject& object, Resolver& resolver,
                 wire::HttpRoute& out) {
  const uint32_t share = share_of(filter);
  wire::Destination to = resolve_ref(filter.backendref(), object, resolver);
  if (share == 0 || to.hostname().empty()) return;
  wire::Mirror& mirror = *out.add_mirrors();
  *mirror.mutable_destination() = std::move(to);
  mirror.set_per_million(share);
}

// What a rule's filters and a backend's have in common. False: it is another one.
template <class Out>
bool fill_common(const api::RouteFilter& filter, Out& out) {
  if (filter.type() == "RequestHeaderModifier") {
    const std::string authority =
        fill_changes(filter.requestheadermodifier(), *out.mutable_request_headers());
    if (!authority.empty()) out.mutable_rewrite()->set_authority(authority);
  } else if (filter.type() == "ResponseHeaderModifier") {
    fill_changes(filter.responseheadermodifier(), *out.mutable_response_headers());
  } else if (filter.type() == "URLRewrite") {
    wire::Rewrite& rewrite = *out.mutable_rewrite();
    if (!filter.urlrewrite().hostname().empty()) {
      rewrite.set_authority(filter.urlrewrite().hostname());
    }
    fill_path(filter.urlrewrite().path(), rewrite);
  } else {
    return false;
  }
  return true;
}

}  // namespace

bool fill_backend_filters(const Filters& filters, wire::Forward::Weighted& out) {
  for (const api::RouteFilter& filter : filters) {
    if (!fill_common(filter, out)) return false;
  }
  return true;
}

bool fill_rule_filters(const Filters& filters, const RouteObject& object, Resolver& resolver,
                       wire::HttpRoute& out) {
  for (const api::RouteFilter& filter : filters) {
    if (fill_common(filter, out)) continue;
    if (filter.type() == "RequestRedirect") {
      fill_redirect(filter.requestredirect(), *out.mutable_redirect());
    } else if (filter.type() == "RequestMirror") {
      fill_mirror(filter.requestmirror(), object, resolver, out);
    } else if (filter.type() == "CORS") {
      fill_cors(filter.cors(), *out.mutable_cors());
    } else {
      return false;
    }
  }
  return true;
}

}  // namespace weft::l7
