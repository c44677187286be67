#include "ztunnel/routing/hash_key.h"

#include "ztunnel/routing/conditions.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <array>
#include <cstdio>

namespace weft::routing {
namespace {

std::string_view trim(std::string_view text) {
  while (text.starts_with(' ')) text.remove_prefix(1);
  while (text.ends_with(' ')) text.remove_suffix(1);
  return text;
}

std::optional<std::string_view> cookie_value(const http::RequestHead& request,
                                             std::string_view name) {
  for (const http::FieldList::Field& field : request.fields.all()) {
    if (field.name != "cookie") continue;
    std::string_view rest = field.value;
    while (!rest.empty()) {
      const size_t end = std::min(rest.find(';'), rest.size());
      const std::string_view one = trim(rest.substr(0, end));
      rest.remove_prefix(std::min(end + 1, rest.size()));
      const size_t equals = one.find('=');
      if (equals == std::string_view::npos || one.substr(0, equals) != name) continue;
      std::string_view value = one.substr(equals + 1);
      if (value.size() >= 2 && value.starts_with('"') && value.ends_with('"')) {
        value = value.substr(1, value.size() - 2);
      }
      return value;
    }
  }
  return std::nullopt;
}

HashKey cookie_key(const weft::route::Balancing::Cookie& cookie, const http::RequestHead& request,
                   uint64_t dice) {
  if (const auto value = cookie_value(request, cookie.name())) return {hash_text(*value), {}};
  if (!cookie.has_ttl_s()) return {};
  std::array<char, 17> value{};
  std::snprintf(value.data(), value.size(), "%016llx", static_cast<unsigned long long>(dice));
  std::string set = cookie.name() + "=\"" + value.data() + "\"";
  if (cookie.ttl_s() != 0) set += "; Max-Age=" + std::to_string(cookie.ttl_s());
  if (!cookie.path().empty()) set += "; Path=" + cookie.path();
  for (const std::string& attribute : cookie.attributes()) set += "; " + attribute;
  set += "; HttpOnly";
  return {hash_text(value.data()), std::move(set)};
}

}  // namespace

uint64_t hash_text(std::string_view text) { return XXH64(text.data(), text.size(), 0); }

HashKey hash_key(const weft::route::Balancing::HashOn& on, const http::RequestHead& request,
                 const IpAddress& client, uint64_t dice) {
  using HashOn = weft::route::Balancing::HashOn;
  std::string joined;
  std::optional<std::string_view> value;
  std::string address;
  switch (on.key_case()) {
    case HashOn::kHeader:
      value = header_value(request, on.header(), joined);
      break;
    case HashOn::kCookie:
      return cookie_key(on.cookie(), request, dice);
    case HashOn::kSourceIp:
      address = client.to_string();
      value = address;
      break;
    case HashOn::kQuery:
      value = query_value(query_of(request.path), on.query());
      break;
    case HashOn::KEY_NOT_SET:
      break;
  }
  if (!value) return {};
  return {hash_text(*value), {}};
}

}  // namespace weft::routing
