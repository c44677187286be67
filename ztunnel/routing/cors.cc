#include "ztunnel/routing/cors.h"

#include <algorithm>

namespace weft::routing {
namespace {

Result<std::string> joined(const google::protobuf::RepeatedPtrField<std::string>& names,
                           std::string_view field) {
  std::string made;
  for (const std::string& name : names) {
    if (name.find_first_of(std::string_view("\r\n\0", 3)) != std::string::npos) {
      return fail(Code::kInvalid, std::string(field) + " holds a line's end or a NUL");
    }
    if (!made.empty()) made += ',';
    made += name;
  }
  return made;
}

}  // namespace

Result<Cors> Cors::compile(const weft::route::Cors& config) {
  Cors made;
  for (const weft::route::StringMatch& origin : config.origins()) {
    made.origins_.push_back(TRY(TextMatch::compile(origin)));
  }
  made.methods_ = TRY(joined(config.methods(), "methods"));
  made.headers_ = TRY(joined(config.headers(), "headers"));
  made.expose_ = TRY(joined(config.expose(), "expose"));
  if (config.has_max_age_s()) made.max_age_ = std::to_string(config.max_age_s());
  made.credentials_ = config.credentials();
  made.forward_unmatched_ = config.forward_unmatched_preflights();
  return made;
}

bool Cors::allows(const http::RequestHead& request) const {
  const http::FieldList::Field* origin = request.fields.find("origin");
  if (origin == nullptr) return false;
  return std::ranges::any_of(origins_,
                             [&](const TextMatch& one) { return one.matches(origin->value); });
}

std::optional<http::ResponseHead> Cors::preflight(const http::RequestHead& request) const {
  const std::string_view method = request.fields.get("access-control-request-method");
  if (request.method != "OPTIONS" || method.empty() || request.fields.get("origin").empty()) {
    return std::nullopt;
  }
  http::ResponseHead answer;
  if (!allows(request)) {
    if (forward_unmatched_) return std::nullopt;
    return answer;
  }
  answer.fields.add("access-control-allow-origin", request.fields.get("origin"));
  if (credentials_) answer.fields.add("access-control-allow-credentials", "true");
  // To a request with credentials a browser takes "*" literally.
  const auto say = [&](std::string_view name, std::string_view value, std::string_view asked) {
    const std::string_view said = value == "*" && credentials_ ? asked : value;
    if (!said.empty()) answer.fields.add(name, said);
  };
  say("access-control-allow-methods", methods_, method);
  say("access-control-allow-headers", headers_,
      request.fields.get("access-control-request-headers"));
  if (!max_age_.empty()) answer.fields.add("access-control-max-age", max_age_);
  return answer;
}

void Cors::tell(const http::RequestHead& request, http::ResponseHead& response) const {
  if (!allows(request)) return;
  response.fields.set("access-control-allow-origin", request.fields.get("origin"));
  if (credentials_) response.fields.set("access-control-allow-credentials", "true");
  if (!expose_.empty()) response.fields.set("access-control-expose-headers", expose_);
}

}  // namespace weft::routing
