// What a peer's CONNECT says: one field a line, "name: value".
#include "ztunnel/base/check.h"
#include "ztunnel/base/ip.h"
#include "ztunnel/hbone/headers.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace {

using namespace weft;
using namespace weft::hbone;

std::vector<http::Header> parse(std::string_view text) {
  std::vector<http::Header> headers;
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    const size_t colon = line.find(": ");
    if (colon == std::string_view::npos) continue;
    headers.push_back({std::string(line.substr(0, colon)), std::string(line.substr(colon + 2))});
  }
  return headers;
}

// A good authority is an address, or a name that cannot be taken for one.
void check(const std::string& authority) {
  const size_t colon = authority.rfind(':');
  CHECK(colon != std::string::npos && authority.size() <= 260);
  const std::string_view host = std::string_view(authority).substr(0, colon);
  const bool numeric =
      host.starts_with('[') || host.find_first_not_of("0123456789.") == std::string_view::npos;
  CHECK(SocketAddress::parse(authority).has_value() == numeric);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const std::vector<http::Header> headers = parse(text);
  const int status = status_of(headers);
  CHECK(status == 0 || (status >= 100 && status < 600));
  const Result<ConnectRequest> request = from_headers(headers);
  if (!request) {
    CHECK(request.error().message.size() < 1000);
    return 0;
  }
  check(request->authority);
  for (const std::string* label : {&request->baggage, &request->forwarded, &request->traceparent}) {
    CHECK(label->size() <= kLabelBytesMax);
    CHECK(std::ranges::all_of(*label, [](char c) { return c >= ' ' && c <= '~'; }));
  }
  CHECK(request->traceparent.empty() || is_traceparent(request->traceparent));
  const std::string_view host = forwarded_host(request->forwarded);
  CHECK(host.empty() || request->forwarded.contains(host));
  // What was understood is understood again.
  const Result<ConnectRequest> again = from_headers(to_headers(*request));
  CHECK(again && again->authority == request->authority && again->baggage == request->baggage &&
        again->forwarded == request->forwarded && again->traceparent == request->traceparent);
  return 0;
}
