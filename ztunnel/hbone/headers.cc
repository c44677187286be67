#include "ztunnel/hbone/headers.h"

#include "ztunnel/base/ip.h"

#include <algorithm>
#include <charconv>
#include <string>

namespace weft::hbone {
namespace {

using http::Header;

constexpr size_t kHostBytesMax = 253;  // of a DNS name
constexpr size_t kPortDigitsMax = 5;
constexpr size_t kTraceparentBytes = 55;

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_host_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || is_digit(c) || c == '-' || c == '_' ||
         c == '.';
}

// A DNS name, with '_', which Kubernetes' own names do not have but others' do.
bool is_host(std::string_view host) {
  return !host.empty() && host.size() <= kHostBytesMax &&
         std::ranges::all_of(host, is_host_character) && !host.starts_with('.') &&
         !host.ends_with('.') && !host.contains("..");
}

bool is_port(std::string_view digits) {
  if (digits.empty() || digits.size() > kPortDigitsMax) return false;
  uint32_t port = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
  return error == std::errc{} && end == digits.data() + digits.size() && port > 0 && port <= 65535;
}

bool is_hex(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return is_digit(c) || (c >= 'a' && c <= 'f'); });
}

bool is_zero(std::string_view text) {
  return text.find_first_not_of('0') == std::string_view::npos;
}

// Visible ASCII and spaces, which is what goes into a log line.
std::string label(const std::vector<Header>& headers, std::string_view name) {
  const std::string_view value = http::find_header(headers, name);
  const bool plain = std::ranges::all_of(value, [](char c) { return c >= ' ' && c <= '~'; });
  return value.size() <= kLabelBytesMax && plain ? std::string(value) : std::string();
}

// The value of one parameter ("host=") of the first element, unquoted; empty where it is not there.
std::string_view forwarded_parameter(std::string_view forwarded, std::string_view name) {
  forwarded = forwarded.substr(0, forwarded.find(','));  // of a quoted comma nothing is asked here
  while (!forwarded.empty()) {
    std::string_view pair = forwarded.substr(0, forwarded.find(';'));
    forwarded.remove_prefix(std::min(pair.size() + 1, forwarded.size()));
    pair.remove_prefix(std::min(pair.find_first_not_of(' '), pair.size()));
    const bool named = pair.size() > name.size() &&
                       std::ranges::equal(pair.substr(0, name.size()), name, [](char a, char b) {
                         return (a >= 'A' && a <= 'Z' ? static_cast<char>(a + 32) : a) == b;
                       });
    if (!named) continue;
    std::string_view value = pair.substr(name.size());
    if (value.size() >= 2 && value.starts_with('"') && value.ends_with('"')) {
      value = value.substr(1, value.size() - 2);
    }
    return value;
  }
  return {};
}

}  // namespace

Result<void> check_authority(std::string_view authority) {
  const auto wrong = [&](std::string_view why) {
    return fail(Code::kInvalid, ":authority \"" + std::string(authority.substr(0, kHostBytesMax)) +
                                    "\": " + std::string(why));
  };
  const size_t colon = authority.rfind(':');
  if (colon == std::string_view::npos) return wrong("expected host:port");
  if (!is_port(authority.substr(colon + 1))) return wrong("expected a port from 1 to 65535");
  const std::string_view host = authority.substr(0, colon);
  if (host.starts_with('[')) {
    if (!SocketAddress::parse(authority)) return wrong("expected an IPv6 address in brackets");
    return {};
  }
  if (!is_host(host)) return wrong("expected an IP address or a host name");
  const std::string_view last = host.substr(host.rfind('.') + 1);  // npos + 1 is 0
  if (std::ranges::all_of(last, is_digit) && !IpAddress::parse(host)) {
    return wrong("expected an IPv4 address");
  }
  return {};
}

bool is_traceparent(std::string_view text) {
  if (text.size() != kTraceparentBytes || !text.starts_with("00-") || text[35] != '-' ||
      text[52] != '-') {
    return false;
  }
  const std::string_view trace = text.substr(3, 32);
  const std::string_view parent = text.substr(36, 16);
  return is_hex(trace) && is_hex(parent) && is_hex(text.substr(53)) && !is_zero(trace) &&
         !is_zero(parent);
}

std::string_view forwarded_host(std::string_view forwarded) {
  const std::string_view host = forwarded_parameter(forwarded, "host=");
  return is_host(host) ? host : std::string_view();
}

std::optional<SocketAddress> forwarded_for(std::string_view forwarded) {
  const auto address = SocketAddress::parse(forwarded_parameter(forwarded, "for="));
  return address ? std::optional(*address) : std::nullopt;
}

std::vector<Header> to_headers(const ConnectRequest& request) {
  std::vector<Header> headers{{":method", "CONNECT"}, {":authority", request.authority}};
  const auto add = [&headers](std::string_view name, const std::string& value) {
    if (!value.empty()) headers.push_back({std::string(name), value});
  };
  add("baggage", request.baggage);
  add("forwarded", request.forwarded);
  add("traceparent", request.traceparent);
  return headers;
}

Result<ConnectRequest> from_headers(const std::vector<Header>& headers) {
  const std::string_view method = http::find_header(headers, ":method");
  if (method != "CONNECT") {
    return fail(Code::kInvalid,
                "HBONE: expected CONNECT, not " + std::string(method.substr(0, 32)));
  }
  ConnectRequest request;
  request.authority = http::find_header(headers, ":authority");
  TRY(check_authority(request.authority));
  request.baggage = label(headers, "baggage");
  request.forwarded = label(headers, "forwarded");
  request.traceparent = label(headers, "traceparent");
  if (!is_traceparent(request.traceparent)) request.traceparent.clear();
  return request;
}

int status_of(const std::vector<Header>& headers) {
  const std::string_view text = http::find_header(headers, ":status");
  if (text.size() != 3 || !std::ranges::all_of(text, is_digit)) return 0;
  const int status = (text[0] - '0') * 100 + (text[1] - '0') * 10 + (text[2] - '0');
  return status >= 100 && status < 600 ? status : 0;
}

}  // namespace weft::hbone
