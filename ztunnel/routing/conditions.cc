#include "ztunnel/routing/conditions.h"

#include <algorithm>
#include <utility>

namespace weft::routing {

std::string_view without_query(std::string_view path) {
  return path.substr(0, path.find_first_of("?#"));
}

std::string_view query_of(std::string_view path) {
  const size_t mark = path.find('?');
  if (mark == std::string_view::npos) return {};
  path.remove_prefix(mark + 1);
  return path.substr(0, path.find('#'));
}

std::string_view without_port(std::string_view authority) {
  const size_t colon = authority.rfind(':');
  if (colon == std::string_view::npos || colon + 1 == authority.size()) return authority;
  const std::string_view port = authority.substr(colon + 1);
  const bool digits = std::ranges::all_of(port, [](char c) { return c >= '0' && c <= '9'; });
  return digits ? authority.substr(0, colon) : authority;
}

std::optional<std::string_view> header_value(const http::RequestHead& request,
                                             std::string_view name, std::string& joined) {
  if (name.starts_with(':')) {
    if (name == ":method") return request.method;
    if (name == ":path") return request.path;
    if (name == ":scheme") return request.scheme;
    if (name == ":authority") return request.authority;
    return std::nullopt;
  }
  if (name == "host") return request.authority;
  const http::FieldList::Field* first = nullptr;
  bool many = false;
  for (const http::FieldList::Field& field : request.fields.all()) {
    if (field.name != name) continue;
    if (first == nullptr) {
      first = &field;
      continue;
    }
    if (!many) joined = first->value;
    many = true;
    joined += ',';
    joined += field.value;
  }
  if (first == nullptr) return std::nullopt;
  return many ? std::string_view(joined) : first->value;
}

std::optional<std::string_view> query_value(std::string_view query, std::string_view name) {
  while (!query.empty()) {
    const size_t end = query.find('&');
    const std::string_view parameter = query.substr(0, end);
    const size_t equals = parameter.find('=');
    if (parameter.substr(0, equals) == name) {
      return equals == std::string_view::npos ? std::string_view() : parameter.substr(equals + 1);
    }
    if (end == std::string_view::npos) break;
    query.remove_prefix(end + 1);
  }
  return std::nullopt;
}

Result<std::vector<Conditions::Named>> Conditions::compile_named(
    const google::protobuf::RepeatedPtrField<weft::route::HttpMatch::Named>& from,
    std::string_view field) {
  std::vector<Named> made;
  for (const weft::route::HttpMatch::Named& one : from) {
    if (one.name().empty()) {
      return fail(Code::kInvalid, std::string(field) + ".name is empty");
    }
    auto value = TextMatch::compile(one.value());
    if (!value) {
      return Fail(std::move(value).error().in(std::string(field) + "[" + one.name() + "]"));
    }
    made.push_back({one.name(), *std::move(value), one.invert()});
  }
  return made;
}

Result<Conditions> Conditions::compile(const weft::route::HttpMatch& match) {
  Conditions made;
  if (match.path().type_case() == weft::route::HttpMatch::Path::kRegex) {
    auto regex = compile_regex(match.path().regex());
    if (!regex) return Fail(std::move(regex).error().in("path"));
    made.path_ = *std::move(regex);
  }
  const auto optional = [](bool present, const weft::route::StringMatch& from, const char* field,
                           std::optional<TextMatch>& to) -> Result<void> {
    if (!present) return {};
    auto text = TextMatch::compile(from);
    if (!text) return Fail(std::move(text).error().in(field));
    to = *std::move(text);
    return {};
  };
  TRY(optional(match.has_method(), match.method(), "method", made.method_));
  TRY(optional(match.has_authority(), match.authority(), "authority", made.authority_));
  TRY(optional(match.has_scheme(), match.scheme(), "scheme", made.scheme_));
  made.headers_ = TRY(compile_named(match.headers(), "headers"));
  made.query_ = TRY(compile_named(match.query(), "query"));
  return made;
}

// What is not there is never matched, but by an inverted match: that takes it for an empty value,
// as Istio has it for withoutHeaders.
bool Conditions::Named::holds(std::optional<std::string_view> found) const {
  if (!invert) return found && value.matches(*found);
  if (value.is_presence()) return !found;
  return !value.matches(found.value_or(std::string_view()));
}

bool Conditions::hold(const http::RequestHead& request) const {
  if (method_ && !method_->matches(request.method)) return false;
  if (scheme_ && !scheme_->matches(request.scheme)) return false;
  if (authority_ && !authority_->matches(request.authority) &&
      !authority_->matches(without_port(request.authority))) {
    return false;
  }
  for (const Named& header : headers_) {
    std::string joined;
    if (!header.holds(header_value(request, header.name, joined))) return false;
  }
  if (!query_.empty()) {
    const std::string_view query = query_of(request.path);
    for (const Named& one : query_) {
      if (!one.holds(query_value(query, one.name))) return false;
    }
  }
  return path_ == nullptr || matches_whole(path_, without_query(request.path));
}

}  // namespace weft::routing
