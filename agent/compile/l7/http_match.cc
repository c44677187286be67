#include "agent/compile/l7/http_match.h"

#include <algorithm>
#include <array>
#include <map>
#include <string>

namespace weft::l7 {

namespace {

using Condition = crd::networking::StringMatch;
using Wire = weft::route::HttpMatch;

// Istio leaves these out of `headers`: they have fields of their own.
constexpr std::array<std::string_view, 4> kNotHeaders = {"uri", "scheme", "method", "authority"};

std::string in_lower_case(std::string text) {
  for (char& c : text) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return text;
}

void fill_text(const Condition& match, weft::route::StringMatch& out) {
  switch (match.match_case()) {
    case Condition::kExact:
      out.set_exact(match.exact());
      return;
    case Condition::kPrefix:
      out.set_prefix(match.prefix());
      return;
    case Condition::kRegex:
      if (match.regex() == "*") break;
      out.set_regex(match.regex());
      return;
    case Condition::MATCH_NOT_SET:
      break;
  }
  out.set_present(true);
}

bool is_written(const Condition& match) { return match.match_case() != Condition::MATCH_NOT_SET; }

void fill_path(const crd::networking::HttpMatch& match, Wire& out) {
  if (!is_written(match.uri())) return;
  Wire::Path& path = *out.mutable_path();
  const Condition& uri = match.uri();
  if (uri.match_case() == Condition::kRegex) {
    path.set_regex(uri.regex());
    return;
  }
  if (uri.match_case() == Condition::kExact) path.set_exact(uri.exact());
  if (uri.match_case() == Condition::kPrefix) path.set_prefix(uri.prefix());
  path.set_ignore_case(match.ignoreuricase());
}

// protobuf's maps have no order; equal rules are to make equal bytes.
using Sorted = std::map<std::string, const Condition*>;
template <class Conditions>
Sorted sorted(const Conditions& conditions) {
  Sorted result;
  for (const auto& [name, match] : conditions) result.emplace(name, &match);
  return result;
}

void add_header(const std::string& name, const Condition& match, bool invert, Wire& out) {
  if (std::ranges::find(kNotHeaders, name) != kNotHeaders.end()) return;
  Wire::Named& header = *out.add_headers();
  header.set_name(in_lower_case(name));
  fill_text(match, *header.mutable_value());
  header.set_invert(invert);
}

}  // namespace

std::optional<Wire> compile_match(const crd::networking::HttpMatch& match, uint32_t port) {
  if (match.port() != 0 && match.port() != port) return std::nullopt;
  if (!is_for_mesh(match.gateways())) return std::nullopt;
  if (!match.sourcelabels().empty() || !match.sourcenamespace().empty()) return std::nullopt;
  Wire out;
  out.set_name(match.name());
  fill_path(match, out);
  if (is_written(match.method())) fill_text(match.method(), *out.mutable_method());
  if (is_written(match.authority())) fill_text(match.authority(), *out.mutable_authority());
  if (is_written(match.scheme())) fill_text(match.scheme(), *out.mutable_scheme());
  for (const auto& [name, header] : sorted(match.headers())) add_header(name, *header, false, out);
  for (const auto& [name, header] : sorted(match.withoutheaders())) {
    add_header(name, *header, true, out);
  }
  for (const auto& [name, value] : sorted(match.queryparams())) {
    Wire::Named& parameter = *out.add_query();
    parameter.set_name(name);
    fill_text(*value, *parameter.mutable_value());
  }
  return out;
}

bool is_catch_all(const Wire& match) {
  if (match.has_method() || match.has_authority() || match.has_scheme() ||
      match.headers_size() > 0 || match.query_size() > 0) {
    return false;
  }
  const Wire::Path& path = match.path();
  switch (path.type_case()) {
    case Wire::Path::kPrefix:
      return path.prefix() == "/" || path.prefix().empty();
    case Wire::Path::kSegmentPrefix:
      return path.segment_prefix() == "/";
    case Wire::Path::kRegex:
      return path.regex() == ".*" || path.regex() == "*";
    case Wire::Path::kExact:
      return false;
    case Wire::Path::TYPE_NOT_SET:
      return true;
  }
  return false;
}

}  // namespace weft::l7
