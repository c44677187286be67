#include "ztunnel/http/http1_head.h"

#include <cstring>

namespace weft::http::http1 {
namespace {

// What is read of the fields that decide where a message ends; the rest is passed on.
struct Hop {
  std::string_view host;
  std::string_view length;
  std::string_view coding;
  std::string_view upgrade;
  int hosts = 0;
  int lengths = 0;
  int codings = 0;
  bool close = false;
  bool keep_alive = false;
  bool upgrades = false;  // Connection: upgrade
  bool expects_continue = false;
  std::string_view naming;  // a Connection that names fields not known to be of one hop
};

// What Connection may not take from a message: another hop would then see another one.
constexpr std::array<std::string_view, 5> kNeverOfOneHop{"host", "content-length", "cookie",
                                                         "authorization", "content-type"};

Parsed<void> note_connection(std::string_view value, Hop& hop) {
  std::string_view rest = value;
  while (!rest.empty()) {
    const size_t comma = std::min(rest.find(','), rest.size());
    const std::string_view token = trim(rest.substr(0, comma));
    rest.remove_prefix(std::min(comma + 1, rest.size()));
    if (token.empty()) continue;
    if (equal_in_any_case(token, "close")) {
      hop.close = true;
    } else if (equal_in_any_case(token, "keep-alive")) {
      hop.keep_alive = true;
    } else if (equal_in_any_case(token, "upgrade")) {
      hop.upgrades = true;
    } else if (!equal_in_any_case(token, "te") && !equal_in_any_case(token, "http2-settings")) {
      if (!is_token(token)) return refuse(400, "Connection names what is no field");
      for (const std::string_view name : kNeverOfOneHop) {
        if (equal_in_any_case(token, name)) {
          return refuse(400, "Connection names " + std::string(name));
        }
      }
      if (!hop.naming.empty() && hop.naming.data() != value.data()) {
        return refuse(400, "two Connection lines that name fields");
      }
      hop.naming = value;
    }
  }
  return {};
}

// True where the field is of this hop alone.
Parsed<bool> note(std::string_view name, std::string_view value, Hop& hop) {
  switch (name.size()) {
    case 2:
      // "trailers" goes on to HTTP/2; whatever else is offered is offered to us alone.
      if (name == "te") return !equal_in_any_case(value, "trailers");
      break;
    case 4:
      if (name != "host") break;
      ++hop.hosts;
      hop.host = value;
      return true;
    case 6:
      if (name == "expect") {
        if (!equal_in_any_case(value, "100-continue")) return refuse(417, "an unknown Expect");
        hop.expects_continue = true;
        return true;
      }
      break;
    case 7:
      if (name != "upgrade") break;
      hop.upgrade = value;
      return true;
    case 10:
      if (name == "keep-alive") return true;
      if (name != "connection") break;
      if (Parsed<void> noted = note_connection(value, hop); !noted) {
        return std::unexpected(std::move(noted.error()));
      }
      return true;
    case 14:
      if (name == "http2-settings") return true;
      if (name != "content-length") break;
      ++hop.lengths;
      hop.length = value;
      break;
    case 16:
      if (name == "proxy-connection") return true;
      break;
    case 17:
      if (name != "transfer-encoding") break;
      ++hop.codings;
      hop.coding = value;
      return true;
    default:
      break;
  }
  return false;
}

// The field lines from `at` up to the empty line that ends at `end`.
Parsed<void> parse_fields(char* at, char* const end, FieldList& into, Hop& hop) {
  size_t count = 0;
  while (at + 2 < end) {
    char* const name_begin = at;
    char c = '\0';
    while ((c = lower_in_token(*at)) != '\0') *at++ = c;
    if (*at != ':' || at == name_begin) return refuse(400, "a header line is not \"name: value\"");
    const std::string_view name(name_begin, static_cast<size_t>(at - name_begin));
    ++at;
    while (*at == ' ' || *at == '\t') ++at;
    char* const stop = static_cast<char*>(std::memchr(at, '\r', static_cast<size_t>(end - at)));
    char* value_end = stop;
    if (stop == nullptr || stop[1] != '\n') return refuse(400, "a bare CR in a header");
    while (value_end > at && (value_end[-1] == ' ' || value_end[-1] == '\t')) --value_end;
    const std::string_view value(at, static_cast<size_t>(value_end - at));
    if (!is_field_text(value)) return refuse(400, "a header value has a control character");
    if (++count > kFieldsMax) return refuse(431, "too many header lines");
    const Parsed<bool> of_hop = note(name, value, hop);
    if (!of_hop) return std::unexpected(of_hop.error());
    if (!*of_hop) into.add_view(name, value);
    at = stop + 2;
  }
  return {};
}

void remove_named(std::string_view connection, FieldList& fields) {
  std::string_view rest = connection;
  while (!rest.empty()) {
    const size_t comma = std::min(rest.find(','), rest.size());
    std::string name(trim(rest.substr(0, comma)));
    rest.remove_prefix(std::min(comma + 1, rest.size()));
    std::ranges::transform(name, name.begin(), lower);
    fields.remove(name);
  }
}

Parsed<void> frame(const Hop& hop, Framing otherwise, Meta& meta) {
  if (hop.lengths > 1) return refuse(400, "more than one Content-Length");
  if (hop.lengths > 0 && hop.codings > 0) {
    return refuse(400, "Content-Length beside Transfer-Encoding");
  }
  if (hop.codings > 1) return refuse(400, "more than one Transfer-Encoding");
  meta.framing = otherwise;
  if (hop.codings == 1) {
    if (!equal_in_any_case(hop.coding, "chunked")) {
      return refuse(501, "a transfer coding other than chunked");
    }
    meta.framing = Framing::kChunked;
  } else if (hop.lengths == 1) {
    const std::optional<uint64_t> length = parse_number<uint64_t>(hop.length, 10);
    if (!length) return refuse(400, "Content-Length is not a number");
    meta.framing = *length == 0 ? Framing::kNone : Framing::kLength;
    meta.length = *length;
  }
  return {};
}

// A Host that a router, a log and a name server read alike: reg-name or IP-literal, and a port.
bool is_authority(std::string_view text) {
  if (text.empty()) return false;
  return std::ranges::all_of(text, [](char c) {
    return lower_in_token(c) != '\0' ? c != '#' && c != '%' && c != '^' && c != '`' && c != '|'
                                     : c == ':' || c == '[' || c == ']';
  });
}

// The target, which is origin-form, absolute-form, or "*" of OPTIONS.
Parsed<void> parse_target(std::string_view target, RequestHead& into) {
  if (!is_target_text(target)) return refuse(400, "the target has a character that none may have");
  into.scheme = "http";
  into.path = target;
  if (target.starts_with('/')) return {};
  if (into.method == "CONNECT") return refuse(501, "CONNECT is not for this proxy");
  if (target == "*" && into.method == "OPTIONS") return {};
  const size_t colon = target.find("://");
  if (colon == std::string_view::npos) return refuse(400, "the target is not a path");
  into.scheme = target.substr(0, colon);
  if (into.scheme != "http" && into.scheme != "https") return refuse(400, "an unknown scheme");
  const size_t host = colon + 3;
  const size_t end = std::min(target.find_first_of("/?", host), target.size());
  into.authority = target.substr(host, end - host);
  into.path = end == target.size() ? std::string_view("/") : target.substr(end);
  if (!into.path.starts_with('/')) return refuse(400, "the target is not a path");
  return {};
}

Parsed<void> take_host(const Hop& hop, RequestHead& into) {
  if (hop.hosts > 1) return refuse(400, "more than one Host");
  if (hop.hosts == 0 && into.version == Version::kHttp11) return refuse(400, "no Host");
  if (hop.hosts == 1 && !is_authority(hop.host)) return refuse(400, "Host is not an authority");
  if (into.authority.empty()) {
    into.authority = hop.host;
  } else if (!is_authority(into.authority) ||
             (hop.hosts == 1 && !equal_in_any_case(into.authority, hop.host))) {
    return refuse(400, "the target names another host than Host does");
  }
  return {};
}

// The version at the end of a request line or the start of a status line.
Parsed<Version> parse_version(std::string_view text) {
  if (text == "HTTP/1.1") return Version::kHttp11;
  if (text == "HTTP/1.0") return Version::kHttp10;
  const bool other = text.size() == 8 && text.starts_with("HTTP/") && text[6] == '.';
  return refuse(other ? 505 : 400, "the version is not HTTP/1.1 or 1.0");
}

Parsed<char*> parse_request_line(std::span<char> head, RequestHead& into) {
  const std::string_view text(head.data(), head.size());
  const size_t end = text.find("\r\n");
  const std::string_view line = text.substr(0, end);
  const size_t first = line.find(' ');
  const size_t last = line.rfind(' ');
  if (first == std::string_view::npos || first == last || !is_token(line.substr(0, first))) {
    return refuse(400, "the request line is not \"method target version\"");
  }
  const Parsed<Version> version = parse_version(line.substr(last + 1));
  if (!version) return std::unexpected(version.error());
  into.version = *version;
  into.method = line.substr(0, first);
  Parsed<void> target = parse_target(line.substr(first + 1, last - first - 1), into);
  if (!target) return std::unexpected(std::move(target.error()));
  return head.data() + end + 2;
}

}  // namespace

Parsed<std::optional<size_t>> HeadFinder::find(std::string_view bytes) {
  size_t at = 0;
  while (at < bytes.size()) {
    const void* found = std::memchr(bytes.data() + at, '\n', bytes.size() - at);
    const size_t end = found == nullptr
                           ? bytes.size()
                           : static_cast<size_t>(static_cast<const char*>(found) - bytes.data());
    const size_t part = end - at;
    if (part > 0) last_ = bytes[end - 1];
    line_ += part;
    if (seen_ + end > kHeadBytesMax) return refuse(431, "the head is too long");
    if (found == nullptr) break;
    if (line_ == 0 || last_ != '\r') return refuse(400, "a line does not end with CR LF");
    if (line_ == 1) {
      seen_ += end + 1;
      return end + 1;
    }
    line_ = 0;
    at = end + 1;
  }
  seen_ += bytes.size();
  return std::nullopt;
}

Parsed<Meta> parse_request(std::span<char> head, RequestHead& into) {
  const Parsed<char*> fields = parse_request_line(head, into);
  if (!fields) return std::unexpected(fields.error());
  Hop hop;
  Parsed<void> done = parse_fields(*fields, head.data() + head.size(), into.fields, hop);
  if (done) done = take_host(hop, into);
  Meta meta;
  if (done) done = frame(hop, Framing::kNone, meta);
  if (!done) return std::unexpected(std::move(done.error()));
  const bool old = into.version == Version::kHttp10;
  if (old && hop.codings > 0) return refuse(400, "Transfer-Encoding in HTTP/1.0");
  meta.keep_alive = !hop.close && (!old || hop.keep_alive);
  meta.expects_continue = hop.expects_continue && !old && meta.framing != Framing::kNone;
  // An upgrade to what is HTTP too is not taken: "h2c" would be another way past the routes.
  if (hop.upgrades && !old && equal_in_any_case(hop.upgrade, "websocket")) {
    if (meta.framing != Framing::kNone) return refuse(400, "an Upgrade with a body");
    into.protocol = "websocket";
  }
  remove_named(hop.naming, into.fields);
  return meta;
}

Parsed<Meta> parse_response(std::span<char> head, std::string_view method, ResponseHead& into) {
  const std::string_view text(head.data(), head.size());
  const size_t end = text.find("\r\n");
  const std::string_view line = text.substr(0, end);
  const Parsed<Version> version = parse_version(line.substr(0, std::min<size_t>(8, line.size())));
  if (!version) return std::unexpected(version.error());
  const std::optional<int> status =
      line.size() >= 12 && line[8] == ' ' ? parse_number<int>(line.substr(9, 3), 10) : std::nullopt;
  if (!status || *status < 100 || (line.size() > 12 && line[12] != ' ') || !is_field_text(line)) {
    return refuse(502, "the status line is not \"HTTP/1.1 status reason\"");
  }
  into.status = *status;
  Hop hop;
  Parsed<void> done =
      parse_fields(head.data() + end + 2, head.data() + head.size(), into.fields, hop);
  Meta meta;
  if (done) done = frame(hop, Framing::kUntilEnd, meta);
  if (!done) return std::unexpected(std::move(done.error()));
  const bool old = *version == Version::kHttp10;
  if (old && hop.codings > 0) return refuse(502, "Transfer-Encoding in HTTP/1.0");
  if (method == "HEAD" || *status < 200 || *status == 204 || *status == 304) {
    meta.framing = Framing::kNone;
  }
  meta.keep_alive = !hop.close && (!old || hop.keep_alive) && meta.framing != Framing::kUntilEnd;
  remove_named(hop.naming, into.fields);
  return meta;
}

Parsed<void> parse_trailers(std::span<char> lines, FieldList& into) {
  Hop hop;
  Parsed<void> done = parse_fields(lines.data(), lines.data() + lines.size(), into, hop);
  if (!done) return done;
  if (hop.hosts + hop.lengths + hop.codings > 0) {
    return refuse(400, "a trailer says how its message is framed");
  }
  return {};
}

}  // namespace weft::http::http1
