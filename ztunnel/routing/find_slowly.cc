#include "ztunnel/routing/route.h"
#include "ztunnel/routing/table.h"

#include <re2/re2.h>

#include <algorithm>
#include <cctype>
#include <map>
#include <string>
#include <vector>

// Written on the messages and on strings, sharing nothing with what it is compared to.

namespace weft::routing {
namespace {

using weft::route::HttpMatch;
using weft::route::StringMatch;

bool says(const StringMatch& match, const std::string& text) {
  if (match.has_exact()) return text == match.exact();
  if (match.has_prefix()) return text.rfind(match.prefix(), 0) == 0;
  if (match.has_regex()) return re2::RE2::FullMatch(text, re2::RE2(match.regex(), re2::RE2::Quiet));
  return true;
}

bool named(const HttpMatch::Named& match, const std::string* found) {
  const bool presence =
      !match.value().has_exact() && !match.value().has_prefix() && !match.value().has_regex();
  if (presence) return match.invert() == (found == nullptr);
  if (!match.invert()) return found != nullptr && says(match.value(), *found);
  return !says(match.value(), found == nullptr ? "" : *found);
}

std::string lower(std::string text) {
  std::ranges::transform(text, text.begin(),
                         [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

// How many bytes matched by prefix; the whole path: npos; no match: nothing.
std::optional<size_t> path_bytes(const HttpMatch::Path& match, std::string path) {
  const auto fold = [&](std::string text) { return match.ignore_case() ? lower(text) : text; };
  const std::optional<size_t> whole(std::string::npos);
  if (match.has_regex()) {
    const re2::RE2 regex(match.regex(), re2::RE2::Quiet);
    return re2::RE2::FullMatch(path, regex) ? whole : std::nullopt;
  }
  path = fold(path);
  if (match.has_exact()) return path == fold(match.exact()) ? whole : std::nullopt;
  if (match.has_prefix()) {
    const std::string prefix = fold(match.prefix());
    return path.rfind(prefix, 0) == 0 ? std::optional(prefix.size()) : std::nullopt;
  }
  if (match.has_segment_prefix()) {
    std::string prefix = fold(match.segment_prefix());
    while (!prefix.empty() && prefix.back() == '/') prefix.pop_back();
    const bool fits = path == prefix || path.rfind(prefix + "/", 0) == 0;
    return fits ? std::optional(prefix.size()) : std::nullopt;
  }
  return path.rfind('/', 0) == 0 ? std::optional<size_t>(1) : whole;
}

struct Request {
  std::string path;
  std::map<std::string, std::string> headers;
  std::map<std::string, std::string> query;
  std::string authority;
  std::string host;
};

Request taken_apart(const http::RequestHead& head) {
  Request made;
  made.path = std::string(head.path);
  std::string query;
  made.path.resize(std::min(made.path.find('#'), made.path.size()));
  if (const size_t mark = made.path.find('?'); mark != std::string::npos) {
    query = made.path.substr(mark + 1);
    made.path.resize(mark);
  }
  for (size_t at = 0; at < query.size();) {
    const size_t end = std::min(query.find('&', at), query.size());
    const std::string one = query.substr(at, end - at);
    const size_t equals = one.find('=');
    made.query.emplace(one.substr(0, equals),
                       equals == std::string::npos ? "" : one.substr(equals + 1));
    at = end + 1;
  }
  for (const auto& field : head.fields.all()) {
    auto [slot, fresh] = made.headers.emplace(field.name, field.value);
    if (!fresh) slot->second += "," + std::string(field.value);
  }
  for (auto name : {":authority", "host"}) made.headers[name] = std::string(head.authority);
  made.headers[":method"] = std::string(head.method);
  made.headers[":path"] = std::string(head.path);
  made.headers[":scheme"] = std::string(head.scheme);
  made.authority = made.host = std::string(head.authority);
  static const re2::RE2 kPort("(.*):[0-9]+");
  re2::RE2::FullMatch(made.authority, kPort, &made.host);
  return made;
}

bool all_hold(const HttpMatch& match, const http::RequestHead& head, const Request& request) {
  if (match.has_method() && !says(match.method(), std::string(head.method))) return false;
  if (match.has_scheme() && !says(match.scheme(), std::string(head.scheme))) return false;
  if (match.has_authority() && !says(match.authority(), request.authority) &&
      !says(match.authority(), request.host)) {
    return false;
  }
  const auto in = [](const std::map<std::string, std::string>& values) {
    return [&values](const HttpMatch::Named& one) {
      const auto found = values.find(one.name());
      return named(one, found == values.end() ? nullptr : &found->second);
    };
  };
  return std::ranges::all_of(match.headers(), in(request.headers)) &&
         std::ranges::all_of(match.query(), in(request.query));
}

}  // namespace

Match find_slowly(const Table& table, const http::RequestHead& head) {
  const Request request = taken_apart(head);
  uint32_t asked = 0;
  for (const Route& route : table.routes()) {
    std::vector<HttpMatch> matches(route.config->matches().begin(), route.config->matches().end());
    if (matches.empty()) matches.emplace_back();
    for (size_t i = 0; i < matches.size(); ++i) {
      ++asked;
      const auto bytes = path_bytes(matches[i].path(), request.path);
      if (!bytes || !all_hold(matches[i], head, request)) continue;
      const bool whole = *bytes == std::string::npos;
      return {&route, whole ? std::nullopt : bytes, route.names[i], asked};
    }
  }
  return {nullptr, std::nullopt, {}, asked};
}

}  // namespace weft::routing
