#include "ztunnel/routing/conditions.h"
#include "ztunnel/routing/header_changes.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <cstdio>
#include <ctime>
#include <utility>

namespace weft::routing {
namespace {

constexpr std::array<std::string_view, 13> kPlain{"PROTOCOL",
                                                  "START_TIME",
                                                  "RESPONSE_CODE",
                                                  "ROUTE_NAME",
                                                  "HOSTNAME",
                                                  "UPSTREAM_HOST",
                                                  "DOWNSTREAM_PEER_URI_SAN",
                                                  "DOWNSTREAM_LOCAL_ADDRESS",
                                                  "DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT",
                                                  "DOWNSTREAM_REMOTE_ADDRESS",
                                                  "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT",
                                                  "DOWNSTREAM_DIRECT_REMOTE_ADDRESS",
                                                  "DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT"};

std::string lower(std::string_view text) {
  std::string made(text);
  for (char& c : made) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return made;
}

std::string_view protocol_of(http::Version version) {
  switch (version) {
    case http::Version::kHttp10:
      return "HTTP/1.0";
    case http::Version::kHttp11:
      return "HTTP/1.1";
    case http::Version::kHttp2:
      return "HTTP/2";
  }
  return "";
}

// "2026-01-02T03:04:05.678Z"
std::string time_text(std::chrono::system_clock::time_point when) {
  const auto since =
      std::chrono::duration_cast<std::chrono::milliseconds>(when.time_since_epoch()).count();
  const auto seconds = static_cast<std::time_t>(since / 1000);
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  std::array<char, 32> text{};
  const size_t size = std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%S", &parts);
  std::array<char, 8> fraction{};
  std::snprintf(fraction.data(), fraction.size(), ".%03dZ", static_cast<int>(since % 1000));
  return std::string(text.data(), size) + fraction.data();
}

std::string header_of(const std::string& name, const http::RequestHead& request) {
  std::string joined;
  const auto found = header_value(request, name, joined);
  return found ? std::string(*found) : std::string();
}

}  // namespace

// "REQ(X-A?X-B):10", between the percent signs.
bool Format::parse_operator(std::string_view text, Operator& made) {
  const size_t open = text.find('(');
  if (open == std::string_view::npos) {
    made.name = text;
    return std::ranges::count(kPlain, text) > 0;
  }
  const size_t close = text.find(')', open);
  made.name = text.substr(0, open);
  if (close == std::string_view::npos || (made.name != "REQ" && made.name != "RESP")) return false;
  const std::string_view headers = text.substr(open + 1, close - open - 1);
  const size_t mark = headers.find('?');
  made.header = lower(headers.substr(0, mark));
  if (mark != std::string_view::npos) made.other = lower(headers.substr(mark + 1));
  std::string_view rest = text.substr(close + 1);
  if (rest.empty()) return true;
  if (rest.front() != ':') return false;
  rest.remove_prefix(1);
  const auto [end, error] = std::from_chars(rest.begin(), rest.end(), made.bytes_max);
  return error == std::errc() && end == rest.end();
}

Format Format::compile(std::string_view text) {
  Format made;
  std::string literal;
  while (!text.empty()) {
    const size_t begin = text.find('%');
    literal += text.substr(0, begin);
    if (begin == std::string_view::npos) break;
    text.remove_prefix(begin + 1);
    if (text.starts_with('%')) {
      literal += '%';
      text.remove_prefix(1);
      continue;
    }
    const size_t end = text.find('%');
    Operator found;
    if (end == std::string_view::npos || !parse_operator(text.substr(0, end), found)) {
      literal += '%';
      continue;
    }
    if (!literal.empty()) made.pieces_.emplace_back(std::exchange(literal, {}));
    made.pieces_.emplace_back(std::move(found));
    text.remove_prefix(end + 1);
  }
  if (!literal.empty()) made.pieces_.emplace_back(std::move(literal));
  return made;
}

std::string Format::value(const Operator& what, const http::RequestHead& request,
                          const http::ResponseHead* response, const Facts& facts) {
  if (what.name == "REQ") {
    const std::string found = header_of(what.header, request);
    return found.empty() && !what.other.empty() ? header_of(what.other, request) : found;
  }
  if (what.name == "RESP") {
    if (response == nullptr) return {};
    const std::string_view found = response->fields.get(what.header);
    return std::string(found.empty() ? response->fields.get(what.other) : found);
  }
  if (what.name == "PROTOCOL") return std::string(protocol_of(request.version));
  if (what.name == "START_TIME") return time_text(facts.started);
  if (what.name == "RESPONSE_CODE") {
    return response == nullptr ? std::string() : std::to_string(response->status);
  }
  if (what.name == "ROUTE_NAME") return std::string(facts.route_name);
  if (what.name == "HOSTNAME") return std::string(facts.hostname);
  if (what.name == "UPSTREAM_HOST") return std::string(facts.upstream);
  if (what.name == "DOWNSTREAM_PEER_URI_SAN") return std::string(facts.peer);
  const bool is_local = what.name.starts_with("DOWNSTREAM_LOCAL");
  const std::string_view address = is_local ? facts.local_address : facts.remote_address;
  if (!what.name.ends_with("_WITHOUT_PORT")) return std::string(address);
  std::string_view plain = without_port(address);
  if (plain.starts_with('[') && plain.ends_with(']')) plain = plain.substr(1, plain.size() - 2);
  return std::string(plain);
}

bool Format::is_text() const {
  return std::ranges::all_of(
      pieces_, [](const auto& piece) { return std::holds_alternative<std::string>(piece); });
}

std::string Format::of(const http::RequestHead& request, const http::ResponseHead* response,
                       const Facts& facts) const {
  std::string made;
  for (const auto& piece : pieces_) {
    if (const auto* literal = std::get_if<std::string>(&piece)) {
      made += *literal;
    } else {
      const Operator& what = std::get<Operator>(piece);
      made += value(what, request, response, facts).substr(0, what.bytes_max);
    }
  }
  return made;
}

}  // namespace weft::routing
