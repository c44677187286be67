#include "ztunnel/http/h2_translate.h"

#include "ztunnel/base/result.h"
#include "ztunnel/http/http1_grammar.h"

#include <algorithm>
#include <utility>

namespace weft::http {
namespace {

// HTTP/2 cuts Cookie so that its parts compress; other versions know one line (RFC 9113, 8.2.3).
void join_cookies(FieldList& fields) {
  if (fields.count("cookie") < 2) return;
  std::string joined;
  for (const FieldList::Field& field : fields.all()) {
    if (field.name != "cookie") continue;
    if (!joined.empty()) joined += "; ";
    joined += field.value;
  }
  fields.set("cookie", joined);
}

bool is_of_one_hop(std::string_view name) {
  return name == "connection" || name == "keep-alive" || name == "proxy-connection" ||
         name == "transfer-encoding" || name == "upgrade" || name == "http2-settings";
}

void add_all(const FieldList& fields, std::vector<Header>& into) {
  for (const FieldList::Field& field : fields.all()) {
    if (is_of_one_hop(field.name)) continue;
    into.push_back({std::string(field.name), std::string(field.value)});
  }
}

}  // namespace

Result<RequestHead> to_request(std::vector<Header> headers) {
  RequestHead head;
  head.version = Version::kHttp2;
  head.fields.adopt(std::move(headers));
  for (const Header& header : head.fields.adopted()) {
    if (!header.name.starts_with(':')) break;  // nghttp2 has seen to their order
    if (header.name == ":method") {
      head.method = header.value;
    } else if (header.name == ":scheme") {
      head.scheme = header.value;
    } else if (header.name == ":authority") {
      head.authority = header.value;
    } else if (header.name == ":path") {
      head.path = header.value;
    } else if (header.name == ":protocol") {
      head.protocol = header.value;
    }
  }
  if (const size_t hosts = head.fields.count("host"); hosts > 0) {
    const std::string_view host = head.fields.get("host");
    if (hosts > 1 || (!head.authority.empty() && !http1::equal_in_any_case(host, head.authority))) {
      return fail(Code::kInvalid, "HTTP/2: host is not what :authority says");
    }
    head.authority = host;
    head.fields.remove("host");
  }
  if (head.authority.empty()) return fail(Code::kInvalid, "HTTP/2: no :authority");
  if (head.method == "CONNECT" && head.protocol.empty()) {
    return fail(Code::kUnsupported, "CONNECT is not for this proxy");
  }
  if (!http1::is_target_text(head.path) || !http1::is_target_text(head.authority) ||
      (!head.path.starts_with('/') && !(head.path == "*" && head.method == "OPTIONS"))) {
    return fail(Code::kInvalid, "HTTP/2: :path is not a path");
  }
  if (!head.protocol.empty()) head.method = "GET";
  join_cookies(head.fields);
  return head;
}

ResponseHead to_response(std::vector<Header> headers) {
  ResponseHead head;
  head.status = http1::parse_number<int>(find_header(headers, ":status"), 10).value_or(0);
  head.fields.adopt(std::move(headers));
  return head;
}

FieldList to_fields(std::vector<Header> headers) {
  FieldList fields;
  fields.adopt(std::move(headers));
  return fields;
}

std::vector<Header> from_request(const RequestHead& head) {
  std::vector<Header> headers;
  headers.reserve(head.fields.all().size() + 5);
  const bool is_connect = !head.protocol.empty();
  headers.push_back({":method", std::string(is_connect ? "CONNECT" : head.method)});
  headers.push_back({":scheme", std::string(head.scheme)});
  headers.push_back({":authority", std::string(head.authority)});
  headers.push_back({":path", std::string(head.path)});
  if (is_connect) headers.push_back({":protocol", std::string(head.protocol)});
  add_all(head.fields, headers);
  return headers;
}

std::vector<Header> from_response(const ResponseHead& head) {
  std::vector<Header> headers;
  headers.reserve(head.fields.all().size() + 1);
  headers.push_back({":status", std::to_string(head.status)});
  add_all(head.fields, headers);
  return headers;
}

std::vector<Header> from_fields(const FieldList& fields) {
  std::vector<Header> headers;
  headers.reserve(fields.all().size());
  add_all(fields, headers);
  return headers;
}

}  // namespace weft::http
