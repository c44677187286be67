#include "agent/compile/l7/gateway_match.h"

#include <string>

namespace weft::l7 {

namespace api = crd::gateway_api;
using weft::route::HttpMatch;

namespace {

constexpr const char* kAnyPart = "[^/]+";
constexpr const char* kRegex = "RegularExpression";

std::string in_lower_case(std::string text) {
  for (char& c : text) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return text;
}

std::string member(const google::protobuf::Value& value, const std::string& name) {
  const auto found = value.struct_value().fields().find(name);
  return found == value.struct_value().fields().end() ? std::string()
                                                      : found->second.string_value();
}

void fill_path(const api::TypedValue& path, HttpMatch& out) {
  if (path.type() == "Exact") {
    out.mutable_path()->set_exact(path.value());
  } else if (path.type() == kRegex) {
    out.mutable_path()->set_regex(path.value());
  } else {
    out.mutable_path()->set_segment_prefix(path.value().empty() ? "/" : path.value());
  }
}

// gRPC: "/<service>/<method>".
void fill_grpc_path(const google::protobuf::Value& method, HttpMatch& out) {
  const std::string service = member(method, "service");
  const std::string name = member(method, "method");
  const bool is_regex = member(method, "type") == kRegex;
  if (service.empty() && name.empty()) {
    out.mutable_path()->set_segment_prefix("/");
  } else if (is_regex || service.empty()) {
    out.mutable_path()->set_regex("/" + (service.empty() ? kAnyPart : service) + "/" +
                                  (name.empty() ? kAnyPart : name));
  } else if (name.empty()) {
    out.mutable_path()->set_prefix("/" + service + "/");
  } else {
    out.mutable_path()->set_exact("/" + service + "/" + name);
  }
}

void fill_named(const api::NamedMatch& match, const std::string& name, HttpMatch::Named& out) {
  out.set_name(name);
  if (match.type() == kRegex) {
    out.mutable_value()->set_regex(match.value());
  } else {
    out.mutable_value()->set_exact(match.value());
  }
}

void fill_rank(const HttpMatch& match, Rank& rank) {
  const HttpMatch::Path& path = match.path();
  if (path.type_case() == HttpMatch::Path::kExact) {
    rank.length = -static_cast<long>(path.exact().size());
  } else if (path.type_case() == HttpMatch::Path::kRegex) {
    rank.path = 2;
    rank.length = -static_cast<long>(path.regex().size());
  } else {
    rank.path = 1;
    rank.length = -static_cast<long>(path.prefix().size() + path.segment_prefix().size());
  }
  rank.method = match.has_method() ? -1 : 0;
  rank.headers = -match.headers_size();
  rank.query = -match.query_size();
}

}  // namespace

void compile_gateway_match(const api::HttpRouteMatch& match, bool is_grpc, HttpMatch& out,
                           Rank& rank) {
  if (is_grpc) {
    fill_grpc_path(match.method(), out);
  } else {
    fill_path(match.path(), out);
    const std::string& method = match.method().string_value();
    if (!method.empty()) out.mutable_method()->set_exact(method);
  }
  for (const auto& header : match.headers()) {
    fill_named(header, in_lower_case(header.name()), *out.add_headers());
  }
  for (const auto& parameter : match.queryparams()) {
    fill_named(parameter, parameter.name(), *out.add_query());
  }
  fill_rank(out, rank);
}

}  // namespace weft::l7
