#pragma once

#include "ztunnel/base/result.h"
#include "ztunnel/http/header.h"
#include "ztunnel/http/message.h"

#include <vector>

// Between HTTP/2's header lists and the heads that all versions share (RFC 9113, 8.2 and 8.3).
// nghttp2 has checked what HTTP/2 itself asks of them.

namespace weft::http {

// kInvalid: no other version could say it (a Host beside another :authority, a path with a space).
Result<RequestHead> to_request(std::vector<Header> headers);
ResponseHead to_response(std::vector<Header> headers);
FieldList to_fields(std::vector<Header> headers);

// Fields of one hop alone are left out.
std::vector<Header> from_request(const RequestHead& head);
std::vector<Header> from_response(const ResponseHead& head);
std::vector<Header> from_fields(const FieldList& fields);

}  // namespace weft::http
