// Feeds the HTTP/1.1 parsers in pieces. The first byte chooses the parser and the size of the
// pieces; however the bytes are cut, the outcome must be the same as for the whole.
#include "ztunnel/base/check.h"
#include "ztunnel/http/http1_parser.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace {

using weft::http::kRequestBodyBytesMax;
using namespace weft::http::http1;

// All requests of a connection as one text, with the refusal at its end.
std::string read_requests(std::string_view bytes, size_t step) {
  RequestParser parser;
  std::string outcome;
  while (!bytes.empty()) {
    parser.feed(bytes.substr(0, step));
    bytes.remove_prefix(std::min(step, bytes.size()));
    while (true) {
      auto got = parser.next();
      if (!got) {
        CHECK(got.error().status >= 400 && !got.error().reason.empty());
        return outcome + "refused " + std::to_string(got.error().status);
      }
      if (!*got) break;
      const weft::http::Request& request = (**got).request;
      CHECK(request.path.starts_with('/') && request.body.size() <= kRequestBodyBytesMax);
      outcome += request.method + " " + request.path + "?" + request.query + " " + request.body +
                 ((**got).keep_alive ? "\n" : " close\n");
    }
  }
  return outcome;
}

std::string read_response(std::string_view bytes, size_t step, bool to_head) {
  ResponseParser parser(to_head);
  while (!bytes.empty()) {
    parser.feed(bytes.substr(0, step));
    bytes.remove_prefix(std::min(step, bytes.size()));
    auto got = parser.next();
    if (!got) return "refused";
    if (*got) return std::to_string((**got).status) + (**got).content_type + (**got).body;
  }
  auto got = parser.end();
  if (!got) return "refused";
  return std::to_string(got->status) + got->content_type + got->body;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  const size_t step = 1 + data[0] % 63;
  const std::string_view bytes(reinterpret_cast<const char*>(data + 1), size - 1);
  CHECK(read_requests(bytes, step) == read_requests(bytes, bytes.size()));
  const bool to_head = (data[0] & 64) != 0;
  CHECK(read_response(bytes, step, to_head) == read_response(bytes, bytes.size(), to_head));
  return 0;
}
